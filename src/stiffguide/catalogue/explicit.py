"""Explicit Runge-Kutta methods, from Euler's to the pair of orders 8(7) of Prince and Dormand.

`ALL` gathers what this file and `verner`, `tsitouras`, `prince` and `dop853` define.
"""

from __future__ import annotations

from fractions import Fraction as F

from stiffguide.catalogue import dop853, prince, tsitouras, verner
from stiffguide.tableaux.exact import Row, decimals, lines
from stiffguide.tableaux.tableau import Tableau

EULER = Tableau(
    name="euler",
    a=((),),
    b=(F(1),),
    c=(F(0),),
    order=1,
    source="Euler, Institutiones calculi integralis I (1768), ch. VII",
)

HEUN_EULER = Tableau(
    name="heun",
    a=((), (F(1),)),
    b=(F(1, 2), F(1, 2)),
    c=(F(0), F(1)),
    b_error=(F(-1, 2), F(1, 2)),
    order=2,
    error_order=1,
    source="Heun, Z. Math. Phys. 45 (1900) 23-38; embedded: Euler's method",
)

HEUN3 = Tableau(
    name="heun3",
    a=((), (F(1, 3),), (F(0), F(2, 3))),
    b=(F(1, 4), F(0), F(3, 4)),
    c=(F(0), F(1, 3), F(2, 3)),
    order=3,
    source="Heun, Z. Math. Phys. 45 (1900) 23-38",
)

MIDPOINT = Tableau(
    name="midpoint",
    a=((), (F(1, 2),)),
    b=(F(0), F(1)),
    c=(F(0), F(1, 2)),
    order=2,
    source="Runge, Math. Ann. 46 (1895) 167-178",
)

RK4 = Tableau(
    name="rk4",
    a=((), (F(1, 2),), (F(0), F(1, 2)), (F(0), F(0), F(1))),
    b=(F(1, 6), F(1, 3), F(1, 3), F(1, 6)),
    c=(F(0), F(1, 2), F(1, 2), F(1)),
    order=4,
    source="Kutta, Z. Math. Phys. 46 (1901) 435-453",
)

RK4_38 = Tableau(
    name="rk4_38",
    a=((), (F(1, 3),), (F(-1, 3), F(1)), (F(1), F(-1), F(1))),
    b=(F(1, 8), F(3, 8), F(3, 8), F(1, 8)),
    c=(F(0), F(1, 3), F(2, 3), F(1)),
    order=4,
    source="Kutta, Z. Math. Phys. 46 (1901) 435-453: his rule of three eighths",
)


def embedded(
    name: str, orders: tuple[int, int], rows: str, nodes: str, *, b: str, b_hat: str, source: str
) -> Tableau:
    """A pair from text: `rows` has a line for each row of `a`."""
    main, hat = decimals(b), decimals(b_hat)
    return Tableau(
        name=name,
        a=lines(rows),
        b=main,
        c=decimals(nodes),
        b_error=tuple(x - y for x, y in zip(main, hat, strict=True)),
        order=orders[0],
        error_order=orders[1],
        source=source,
    )


# Fehlberg propagates the solution of order 1, torchdiffeq, whose name this is, that of order 2. The
# two differ by dt^2/512: steps of dt > 0.01 have larger errors than the estimate says
FEHLBERG2 = embedded(
    "fehlberg2",
    (2, 1),
    """
    0
    1/2
    1/256 255/256
    """,
    "0 1/2 1",
    b="1/512 255/256 1/512",
    b_hat="1/256 255/256 0",
    source="Fehlberg, NASA TR R-315 (1969), RK1(2)",
)

SSPRK3 = embedded(
    "ssprk3",
    (3, 2),
    """
    0
    1
    1/4 1/4
    """,
    "0 1 1/2",
    b="1/6 1/6 2/3",
    b_hat="0.291485418878409 0.291485418878409 0.417029162243182",
    source="Shu and Osher, J. Comput. Phys. 77 (1988) 439-471; embedded: Fekete, Conde and "
    "Shadid, J. Comput. Appl. Math. 412 (2022) 114325",
)

BOGACKI_SHAMPINE = embedded(
    "bosh3",
    (3, 2),
    """
    0
    1/2
    0 3/4
    2/9 1/3 4/9
    """,
    "0 1/2 3/4 1",
    b="2/9 1/3 4/9 0",
    b_hat="7/24 1/4 1/3 1/8",
    source="Bogacki and Shampine, Appl. Math. Lett. 2 (1989) 321-325",
)

# Fehlberg propagates the solution of order 4; the other one has order 5
FEHLBERG = embedded(
    "fehlberg45",
    (4, 5),
    """
    0
    1/4
    3/32 9/32
    1932/2197 -7200/2197 7296/2197
    439/216 -8 3680/513 -845/4104
    -8/27 2 -3544/2565 1859/4104 -11/40
    """,
    "0 1/4 3/8 12/13 1 1/2",
    b="25/216 0 1408/2565 2197/4104 -1/5 0",
    b_hat="16/135 0 6656/12825 28561/56430 -9/50 2/55",
    source="Fehlberg, Computing 6 (1970) 61-71",
)

CASH_KARP = embedded(
    "cash_karp",
    (5, 4),
    """
    0
    1/5
    3/40 9/40
    3/10 -9/10 6/5
    -11/54 5/2 -70/27 35/27
    1631/55296 175/512 575/13824 44275/110592 253/4096
    """,
    "0 1/5 3/10 3/5 1 7/8",
    b="37/378 0 250/621 125/594 0 512/1771",
    b_hat="2825/27648 0 18575/48384 13525/55296 277/14336 1/4",
    source="Cash and Karp, ACM Trans. Math. Softw. 16 (1990) 201-222",
)


def dormand_prince() -> Tableau:
    """Order 5(4), with Shampine's dense output of order 4 (the one of DOPRI5 and ode45)."""
    a = lines("""
        0
        1/5
        3/40 9/40
        44/45 -56/15 32/9
        19372/6561 -25360/2187 64448/6561 -212/729
        9017/3168 -355/33 46732/5247 49/176 -5103/18656
        35/384 0 500/1113 125/192 -2187/6784 11/84
    """)
    b: Row = (*a[-1], F(0))
    b_hat = decimals("5179/57600 0 7571/16695 393/640 -92097/339200 187/2100 1/40")
    return Tableau(
        name="dopri5",
        a=a,
        b=b,
        c=decimals("0 1/5 3/10 4/5 8/9 1 1"),
        b_error=tuple(x - y for x, y in zip(b, b_hat, strict=True)),
        order=5,
        error_order=4,
        dense=lines("""
            1 -8048581381/2820520608 8663915743/2820520608 -12715105075/11282082432
            0 0 0 0
            0 131558114200/32700410799 -68118460800/10900136933 87487479700/32700410799
            0 -1754552775/470086768 14199869525/1410260304 -10690763975/1880347072
            0 127303824393/49829197408 -318862633887/49829197408 701980252875/199316789632
            0 -282668133/205662961 2019193451/616988883 -1453857185/822651844
            0 40617522/29380423 -110615467/29380423 69997945/29380423
        """),
        dense_order=4,
        source="Dormand and Prince, J. Comput. Appl. Math. 6 (1980) 19-26; dense output: "
        "Shampine, Math. Comp. 46 (1986) 135-150",
    )


DORMAND_PRINCE = dormand_prince()

ALL = (
    EULER,
    HEUN_EULER,
    HEUN3,
    MIDPOINT,
    RK4,
    RK4_38,
    FEHLBERG2,
    SSPRK3,
    BOGACKI_SHAMPINE,
    FEHLBERG,
    CASH_KARP,
    DORMAND_PRINCE,
    *tsitouras.ALL,
    *verner.ALL,
    *prince.ALL,
    *dop853.ALL,
)
