"""Verner's pairs of orders 6(5), 7(6) and 8(7).

Nodes and free coefficients are those of Verner; every "?" is determined by the quadrature
conditions of its row, and the last stages by the condition D(1) (see `quadrature`).
"""

from __future__ import annotations

from fractions import Fraction as F

from stiffguide.catalogue.quadrature import adjoint_row, quadrature_row
from stiffguide.tableaux.exact import Row, decimals, lines, square
from stiffguide.tableaux.tableau import Tableau

SOURCE = "Verner, Numer. Algorithms 53 (2010) 383-396"


def _minus(b: Row, b_hat: Row) -> Row:
    return tuple(x - y for x, y in zip(b, b_hat, strict=True))


def efficient(
    name: str, order: int, nodes: str, stages: str, *, weights: str, embedded: str
) -> Tableau:
    """The pair of order p(p-1) whose last two stages belong to one solution each.

    `stages` has a line for each row of `a` but those two. The embedded solution skips the stage
    before them as well.
    """
    c = decimals(nodes)
    texts = stages.strip().splitlines()
    rows = [quadrature_row(c, node, text) for node, text in zip(c, texts, strict=False)]
    b = quadrature_row(c, F(1), weights)
    b_hat = quadrature_row(c, F(1), embedded)
    n = len(rows)
    last = adjoint_row(b, c, rows)
    last_hat = adjoint_row((*b_hat[: n - 1], b_hat[-1]), c, rows[: n - 1])
    return Tableau(
        name=name,
        a=square([*rows, last, last_hat + (F(0),) * 3]),
        b=b,
        c=c,
        b_error=_minus(b, b_hat),
        order=order,
        error_order=order - 1,
        source=f"{SOURCE}, the efficient pair {order}({order - 1})",
    )


def robust_65() -> Tableau:
    """The robust pair 6(5), which is FSAL."""
    a = lines("""
        0
        9/50
        29/324 25/324
        1/16 0 3/16
        79129/250000 0 -261237/250000 19663/15625
        1336883/4909125 0 -25476/30875 194159/185250 8225/78546
        -2459386/14727375 0 19504/30875 2377474/13615875 -6157250/5773131 902/735
        2699/7410 0 -252/1235 -1393253/3993990 236875/72618 -135/49 15/22
        11/144 0 0 256/693 0 125/504 125/528 5/72
    """)
    b = (*a[-1], F(0))
    b_hat = decimals("28/477 0 0 212/441 -312500/366177 2125/1764 0 -2105/35532 2995/17766")
    return Tableau(
        name="verner65",
        a=square(a),
        b=b,
        c=decimals("0 9/50 1/6 1/4 53/100 3/5 4/5 1 1"),
        b_error=_minus(b, b_hat),
        order=6,
        error_order=5,
        source=SOURCE + ", the robust pair IIIXb 6(5)",
    )


VERNER65 = robust_65()

A63 = "27569888999279458303270493567994248533230000/2551701010245296220859455115479340650299761"
A73 = "-48265918242888069/1953194276993750"
A75 = "-2090453318815827627666994432/1096684189897834170412307919"
A83 = "-1990261989751005/40001418792832"
A85 = "-1870932273351008733802814881998561250/419326053051486744762255151208232123"
A87 = "-311918858557595100410788125/3171569057622789618800376448"

VERNER76 = efficient(
    "verner76",
    7,
    "0 1/200 49/450 49/300 911/2000 3480084980/5709648941 221/250 37/40 1 1",
    f"""
    0
    ?
    ? ?
    ? 0 ?
    ? 0 ? ?
    ? 0 {A63} ? ?
    ? 0 {A73} ? {A75} ?
    ? 0 {A83} ? {A85} ? {A87}
    """,
    weights="? 0 0 ? ? ? ? ? ? 0",
    embedded="? 0 0 ? ? ? ? 0 0 ?",
)

A97 = (
    "664113122959911642134782135839106469928140328160577035357155340392950009492511875/"
    "15178465598586248136333023107295349175279765150089078301139943253016877823170816"
)
A98 = (
    "10332848184452015604056836767286656859124007796970668046446015775000000/"
    "1312703550036033648073834248740727914537972028638950165249582733679393783"
)
A10_4 = "-20462749524591049105403365239069/454251913499893469596231268750"
A10_5 = "-180269259803172281163724663224981097/38100922558256871086579832832000000"
A10_8 = "212083202434519082281842245535894/20022426044775672563822865371173879"
A11_4 = "-996286030132538159613930889652/16353068885996164905464325675"
A11_5 = "-26053085959256534152588089363841/4377552804565683061011299942400"
A11_8 = "161021426143124178389075121929246710833125/10997207722131034650667041364346422894371443"
A11_10 = "-31155237437111730665923206875/392862141594230515010338956291"

VERNER87 = efficient(
    "verner87",
    8,
    "0 1/20 341/3200 1023/6400 39/100 93/200 31/200 943/1000 7067558016280/7837150160667 "
    "909/1000 47/50 1 1",
    f"""
    0
    ?
    ? ?
    ? 0 ?
    ? 0 ? ?
    ? 0 0 ? ?
    ? 0 0 ? ? ?
    ? 0 0 -125/2 ? ? ?
    ? 0 0 ? ? ? {A97} {A98}
    ? 0 0 {A10_4} {A10_5} ? ? {A10_8} ?
    ? 0 0 {A11_4} {A11_5} ? ? {A11_8} ? {A11_10}
    """,
    weights="? 0 0 0 0 ? ? ? ? ? ? ? 0",
    embedded="? 0 0 0 0 ? ? ? ? ? 0 0 ?",
)

ALL = (VERNER65, VERNER76, VERNER87)
