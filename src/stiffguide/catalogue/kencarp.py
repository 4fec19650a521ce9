"""The additive pairs of Kennedy and Carpenter: an ESDIRK part and an explicit part.

C. A. Kennedy and M. H. Carpenter, Additive Runge-Kutta schemes for convection-diffusion-reaction
equations, Appl. Numer. Math. 44 (2003) 139-181: ARK3(2)4L[2]SA, ARK4(3)6L[2]SA, ARK5(4)8L[2]SA.
Both parts share b, b_hat, c and the dense output. `ALL` holds the implicit parts, each a method
of its own; `PAIRS` holds both parts under the same names, for fields in two parts. The quotients of
the paper are rounded after some 25 digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction as F

from stiffguide.tableaux.additive import AdditivePair
from stiffguide.tableaux.exact import Row, decimals, square
from stiffguide.tableaux.tableau import Tableau

SOURCE = "Kennedy and Carpenter, Appl. Numer. Math. 44 (2003) 139-181"
DIGITS = 25


def with_diagonal(gamma: F, below: Sequence[str]) -> tuple[Row, ...]:
    """Rows of an ESDIRK matrix from what stands left of the diagonal."""
    return (F(0),), *((*decimals(text), gamma) for text in below)


def additive_pair(
    name: str,
    *,
    implicit: Sequence[Row],
    explicit: Sequence[Row],
    b_hat: Row,
    c: Row,
    order: int,
    dense: Sequence[Row],
    dense_order: int,
) -> tuple[Tableau, Tableau]:
    """Build both parts, which differ in `a` only."""
    b = implicit[-1]
    b_error = tuple(x - y for x, y in zip(b, b_hat, strict=True))
    parts = [
        Tableau(
            name=part_name,
            a=square(rows),
            b=b,
            c=c,
            b_error=b_error,
            order=order,
            error_order=order - 1,
            dense=tuple(dense),
            dense_order=dense_order,
            digits=DIGITS,
            source=SOURCE,
        )
        for part_name, rows in ((name, implicit), (f"{name}_explicit", explicit))
    ]
    return parts[0], parts[1]


GAMMA3 = F(1767732205903, 4055673282236)
KENCARP3, KENCARP3_EXPLICIT = additive_pair(
    "kencarp3",
    implicit=with_diagonal(
        GAMMA3,
        (
            "1767732205903/4055673282236",
            "2746238789719/10658868560708 -640167445237/6845629431997",
            """1471266399579/7840856788654 -4482444167858/7529755066697
            11266239266428/11593286722821""",
        ),
    ),
    explicit=(
        decimals("0"),
        decimals("1767732205903/2027836641118"),
        decimals("5535828885825/10492691773637 788022342437/10882634858940"),
        decimals(
            """6485989280629/16251701735622 -4246266847089/9704473918619
            10755448449292/10357097424841"""
        ),
    ),
    b_hat=decimals(
        """2756255671327/12835298489170 -10771552573575/22201958757719
        9247589265047/10645013368117 2193209047091/5459859503100"""
    ),
    c=(F(0), 2 * GAMMA3, F(3, 5), F(1)),
    order=3,
    dense=(
        decimals("4655552711362/22874653954995 -215264564351/13552729205753"),
        decimals("-18682724506714/9892148508045 17870216137069/13817060693119"),
        decimals("34259539580243/13192909600954 -28141676662227/17317692491321"),
        decimals("584795268549/6622622206610 2508943948391/7218656332882"),
    ),
    dense_order=2,
)

KENCARP4, KENCARP4_EXPLICIT = additive_pair(
    "kencarp4",
    implicit=with_diagonal(
        F(1, 4),
        (
            "1/4",
            "8611/62500 -1743/31250",
            "5012029/34652500 -654441/2922500 174375/388108",
            "15267082809/155376265600 -71443401/120774400 730878875/902184768 2285395/8070912",
            "82889/524892 0 15625/83664 69875/102672 -2260/8211",
        ),
    ),
    explicit=(
        decimals("0"),
        decimals("1/2"),
        decimals("13861/62500 6889/62500"),
        decimals(
            """-116923316275/2393684061468 -2731218467317/15368042101831
            9408046702089/11113171139209"""
        ),
        decimals(
            """-451086348788/2902428689909 -2682348792572/7519795681897
            12662868775082/11960479115383 3355817975965/11060851509271"""
        ),
        decimals(
            """647845179188/3216320057751 73281519250/8382639484533
            552539513391/3454668386233 3354512671639/8306763924573 4040/17871"""
        ),
    ),
    b_hat=decimals(
        """4586570599/29645900160 0 178811875/945068544
        814220225/1159782912 -3700637/11593932 61727/225920"""
    ),
    c=decimals("0 1/2 83/250 31/50 17/20 1"),
    order=4,
    dense=(
        decimals("6943876665148/7220017795957 -54480133/30881146 6818779379841/7100303317025"),
        decimals("0 0 0"),
        decimals("7640104374378/9702883013639 -11436875/14766696 2173542590792/12501825683035"),
        decimals("-20649996744609/7521556579894 174696575/18121608 -31592104683404/5083833661969"),
        decimals("8854892464581/2390941311638 -12120380/966161 61146701046299/7138195549469"),
        decimals("-11397109935349/6675773540249 3843/706 -17219254887155/4939391667607"),
    ),
    dense_order=3,
)

KENCARP5, KENCARP5_EXPLICIT = additive_pair(
    "kencarp5",
    implicit=with_diagonal(
        F(41, 200),
        (
            "41/200",
            "41/400 -567603406766/11931857230679",
            "683785636431/9252920307686 0 -110385047103/1367015193373",
            """3016520224154/10081342136671 0 30586259806659/12414158314087
            -22760509404356/11113319521817""",
            """218866479029/1489978393911 0 638256894668/5436446318841
            -1179710474555/5321154724896 -60928119172/8023461067671""",
            """1020004230633/5715676835656 0 25762820946817/25263940353407
            -2161375909145/9755907335909 -211217309593/5846859502534
            -4269925059573/7827059040749""",
            """-872700587467/9133579230613 0 0 22348218063261/9555858737531
            -1143369518992/8141816002931 -39379526789629/19018526304540
            32727382324388/42900044865799""",
        ),
    ),
    explicit=(
        decimals("0"),
        decimals("41/100"),
        decimals("367902744464/2072280473677 677623207551/8224143866563"),
        decimals("1268023523408/10340822734521 0 1029933939417/13636558850479"),
        decimals(
            """14463281900351/6315353703477 0 66114435211212/5879490589093
            -54053170152839/4284798021562"""
        ),
        decimals(
            """14090043504691/34967701212078 0 15191511035443/11219624916014
            -18461159152457/12425892160975 -281667163811/9011619295870"""
        ),
        decimals(
            """19230459214898/13134317526959 0 21275331358303/2942455364971
            -38145345988419/4862620318723 -1/8 -1/8"""
        ),
        decimals(
            """-19977161125411/11928030595625 0 -40795976796054/6384907823539
            177454434618887/12078138498510 782672205425/8267701900261
            -69563011059811/9646580694205 7356628210526/4942186776405"""
        ),
    ),
    b_hat=decimals(
        """-975461918565/9796059967033 0 0 78070527104295/32432590147079
        -548382580838/3424219808633 -33438840321285/15594753105479
        3629800801594/4656183773603 4035322873751/18575991585200"""
    ),
    c=decimals(
        """0 41/100 2935347310677/11292855782101 1426016391358/7196633302097
        23/25 6/25 3/5 1"""
    ),
    order=5,
    dense=(
        decimals(
            """-17674230611817/10670229744614 43486358583215/12773830924787
            -9257016797708/5021505065439"""
        ),
        decimals("0 0 0"),
        decimals("0 0 0"),
        decimals(
            """65168852399939/7868540260826 -91478233927265/11067650958493
            26096422576131/11239449250142"""
        ),
        decimals(
            """15494834004392/5936557850923 -79368583304911/10890268929626
            92396832856987/20362823103730"""
        ),
        decimals(
            """-99329723586156/26959484932159 -12239297817655/9152339842473
            30029262896817/10175596800299"""
        ),
        decimals(
            """-19024464361622/5461577185407 115839755401235/10719374521269
            -26136350496073/3983972220547"""
        ),
        decimals(
            """-6511271360970/6095937251113 5843115559534/2180450260947
            -5289405421727/3760307252460"""
        ),
    ),
    dense_order=3,
)

ALL = (KENCARP3, KENCARP4, KENCARP5)
PAIRS = (
    AdditivePair("kencarp3", explicit=KENCARP3_EXPLICIT, implicit=KENCARP3),
    AdditivePair("kencarp4", explicit=KENCARP4_EXPLICIT, implicit=KENCARP4),
    AdditivePair("kencarp5", explicit=KENCARP5_EXPLICIT, implicit=KENCARP5),
)
