"""Rosenbrock methods from low to high order; all are L-stable, but ROS3P only A-stable.

`rosenbrock23` and `ros3p` are built from closed forms, `rodas3` from rationals. The other Rodas
methods stand as their authors print them, in the form a program uses (a, C, b on the stage vectors
u_i), with 15 to 17 significant digits; `digits` is the strictest value that their own conditions
allow, which is low for `rodas5p` because the terms of its dense output are of size 10^2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction as F

from stiffguide.tableaux.exact import Matrix, Row, decimals, invert_lower, matmul, sqrt, square
from stiffguide.tableaux.rosenbrock import RosenbrockTableau


def powers_of_theta(b: Row, h: Sequence[Row]) -> Matrix:
    """Turn the dense output of the Rodas family into `dense`, exactly.

    Published is y(theta) = (1 - theta) y0 + theta (y1 + (1 - theta) (K_1 + theta (K_2 + ...))) with
    K_j = sum_i h_ji u_i (Hairer and Wanner II, IV.7); collecting powers, theta^(d+1) is left
    with h_(d+1) - h_d, where -b stands for h_0 and 0 for what follows the last h.
    """
    zero = (F(0),) * len(b)
    ladder = (tuple(-x for x in b), *h, zero)
    steps = [
        tuple(above - below for above, below in zip(ladder[d + 1], ladder[d], strict=True))
        for d in range(len(ladder) - 1)
    ]
    return tuple(zip(*steps, strict=True))


def rosenbrock_23() -> RosenbrockTableau:
    """Closed forms in gamma = 1/(2 + sqrt 2), and the interpolant that ode23s uses."""
    gamma = 1 / (2 + sqrt(2))
    e32 = 6 + sqrt(2)
    big_gamma = square(((gamma,), (-gamma, gamma), (gamma * (e32 - 2), -gamma * e32, gamma)))
    tableau = RosenbrockTableau.from_textbook(
        name="rosenbrock23",
        alpha=square(((0,), (F(1, 2),), (0, 1))),
        big_gamma=big_gamma,
        weights=(F(0), F(1), F(0)),
        error_weights=(F(-1, 6), F(1, 3), F(-1, 6)),  # b_hat is Simpson's (1/6, 2/3, 1/6)
        order=2,
        error_order=3,
        source="Shampine and Reichelt, The MATLAB ODE Suite, SIAM J. Sci. Comput. 18 (1997) 1-22",
    )
    # y(theta) = y0 + dt (theta (1 - theta) k_1 + theta (theta - 2 gamma) k_2) / (1 - 2 gamma)
    d = 1 - 2 * gamma
    on_k = ((1 / d, -2 * gamma / d, F(0)), (-1 / d, 1 / d, F(0)))
    on_u = matmul(on_k, invert_lower(big_gamma))
    return replace(tableau, dense=tuple(zip(*on_u, strict=True)), dense_order=2)


def ros_3p() -> RosenbrockTableau:
    """Closed forms in gamma = 1/2 + sqrt(3)/6; R(infinity) = 1 - sqrt 3.

    The published companion of order 2, b_hat = (1/3, 1/3, 1/3), is left out: it has the same R(z),
    and so has any other of order 2, so that the estimate of a linear problem would be 0.
    """
    gamma = F(1, 2) + sqrt(3) / 6
    return RosenbrockTableau.from_textbook(
        name="ros3p",
        alpha=square(((0,), (1,), (1, 0))),
        big_gamma=square(((gamma,), (-1, gamma), (-gamma, F(1, 2) - 2 * gamma, gamma))),
        weights=(F(2, 3), F(0), F(1, 3)),
        order=3,
        source="Lang and Verwer, BIT 41 (2001) 731-738",
    )


ROSENBROCK23 = rosenbrock_23()
ROS3P = ros_3p()

RODAS3 = RosenbrockTableau(
    name="rodas3",
    gamma=F(1, 2),
    a=square(((0,), (0,), (2, 0), (2, 0, 1))),
    big_c=square(((0,), (4,), (1, -1), (1, -1, F(-8, 3)))),
    b=decimals("2 0 1 1"),
    b_error=decimals("0 0 0 1"),
    c=decimals("0 0 1 1"),
    g=decimals("1/2 3/2 0 0"),
    order=3,
    error_order=2,
    source="Sandu, Verwer, Blom, Spee, Carmichael and Potra, Atmos. Environ. 31 (1997) 3459-3472",
)


RODAS4_B = decimals("1.221224509226641 6.019134481288629 12.53708332932087 -0.687886036105895 1 1")
RODAS4 = RosenbrockTableau(
    name="rodas4",
    gamma=F(1, 4),
    a=square(
        (
            decimals("0"),
            decimals("1.544"),
            decimals("0.9466785280815826 0.2557011698983284"),
            decimals("3.314825187068521 2.896124015972201 0.9986419139977817"),
            RODAS4_B[:4],
            RODAS4_B[:5],
        )
    ),
    big_c=square(
        (
            decimals("0"),
            decimals("-5.6688"),
            decimals("-2.430093356833875 -0.2063599157091915"),
            decimals("-0.1073529058151375 -9.594562251023355 -20.47028614809616"),
            decimals("7.496443313967647 -10.24680431464352 -33.99990352819905 11.7089089320616"),
            decimals(
                "8.083246795921522 -7.981132988064893 -31.52159432874371 16.31930543123136"
                " -6.058818238834054"
            ),
        )
    ),
    b=RODAS4_B,
    b_error=decimals("0 0 0 0 0 1"),
    c=decimals("0 0.386 0.21 0.63 1 1"),
    g=decimals("0.25 -0.1043 0.1035 -0.0362 0 0"),
    order=4,
    error_order=3,
    dense=powers_of_theta(
        RODAS4_B,
        (
            decimals(
                "10.12623508344586 -7.487995877610167 -34.80091861555747 -7.992771707568823"
                " 1.025137723295662 0"
            ),
            decimals(
                "-0.6762803392801253 6.087714651680015 16.43084320892478 24.76722511418386"
                " -6.594389125716872 0"
            ),
        ),
    ),
    dense_order=3,
    digits=16,
    source="Hairer and Wanner, Solving Ordinary Differential Equations II, IV.10, code RODAS",
)


RODAS4P_B = decimals(
    "-7.170454962423024 -4.741636671481785 -16.31002631330971 -1.062004044111401 1 1"
)
RODAS4P = RosenbrockTableau(
    name="rodas4p",
    gamma=F(1, 4),
    a=square(
        (
            decimals("0"),
            decimals("3"),
            decimals("1.831036793486759 0.4955183967433795"),
            decimals("2.304376582692669 -0.05249275245743001 -1.176798761832782"),
            RODAS4P_B[:4],
            RODAS4P_B[:5],
        )
    ),
    big_c=square(
        (
            decimals("0"),
            decimals("-12"),
            decimals("-8.791795173947035 -2.207865586973518"),
            decimals("10.81793056857153 6.780270611428266 19.5348594464241"),
            decimals("34.19095006749676 15.49671153725963 54.7476087596413 14.16005392148534"),
            decimals(
                "34.62605830930532 15.30084976114473 56.99955578662667 18.40807009793095"
                " -5.714285714285717"
            ),
        )
    ),
    b=RODAS4P_B,
    b_error=decimals("0 0 0 0 0 1"),
    c=decimals("0 0.75 0.21 0.63 1 1"),
    g=decimals("0.25 -0.5 -0.023504 -0.0362 0 0"),
    order=4,
    error_order=3,
    dense=powers_of_theta(
        RODAS4P_B,
        (
            decimals(
                "25.09876703708589 11.62013104361867 28.49148307714626 -5.664021568594133 0 0"
            ),
            decimals(
                "1.638054557396973 -0.7373619806678748 8.47791821923899 15.9925314877952"
                " -1.882352941176471 0"
            ),
        ),
    ),
    dense_order=3,
    digits=16,
    source="Steinebach, Order-reduction of ROW-methods for DAEs and method of lines applications, "
    "Preprint 1741, TH Darmstadt (1995)",
)


RODAS5P_B = decimals(
    "-7.502846399306121 2.561846144803919 -11.627539656261098 -0.18268767659942256"
    " 0.030198172008377946 1 1 1"
)
RODAS5P = RosenbrockTableau(
    name="rodas5p",
    gamma=F("0.21193756319429014"),
    a=square(
        (
            decimals("0"),
            decimals("3"),
            decimals("2.849394379747939 0.45842242204463923"),
            decimals("-6.954028509809101 2.489845061869568 -10.358996098473584"),
            decimals(
                "2.8029986275628964 0.5072464736228206 -0.3988312541770524 -0.04721187230404641"
            ),
            RODAS5P_B[:5],
            RODAS5P_B[:6],
            RODAS5P_B[:7],
        )
    ),
    big_c=square(
        (
            decimals("0"),
            decimals("-14.155112264123755"),
            decimals("-17.97296035885952 -2.859693295451294"),
            decimals("147.12150275711716 -1.41221402718213 71.68940251302358"),
            decimals("165.43517024871676 -0.4592823456491126 42.90938336958603 -5.961986721573306"),
            decimals(
                "24.854864614690072 -3.0009227002832186 47.4931110020768 5.5814197821558125"
                " -0.6610691825249471"
            ),
            decimals(
                "30.91273214028599 -3.1208243349937974 77.79954646070892 34.28646028294783"
                " -19.097331116725623 -28.087943162872662"
            ),
            decimals(
                "37.80277123390563 -3.2571969029072276 112.26918849496327 66.9347231244047"
                " -40.06618937091002 -54.66780262877968 -9.48861652309627"
            ),
        )
    ),
    b=RODAS5P_B,
    b_error=decimals("0 0 0 0 0 0 0 1"),
    c=decimals(
        "0 0.6358126895828704 0.4095798393397535 0.9769306725060716 0.4288403609558664 1 1 1"
    ),
    g=decimals(
        "0.21193756319429014 -0.42387512638858027 -0.3384627126235924 1.8046452872882734"
        " 2.325825639765069 0 0 0"
    ),
    order=5,
    error_order=4,
    dense=powers_of_theta(
        RODAS5P_B,
        (
            decimals(
                "25.948786856663858 -2.5579724845846235 10.433815404888879 -2.3679251022685204"
                " 0.524948541321073 1.1241088310450404 0.4272876194431874 -0.17202221070155493"
            ),
            decimals(
                "-9.91568850695171 -0.9689944594115154 3.0438037242978453 -24.495224566215796"
                " 20.176138334709044 15.98066361424651 -6.789040303419874 -6.710236069923372"
            ),
            decimals(
                "11.419903575922262 2.8879645146136994 72.92137995996029 80.12511834622643"
                " -52.072871366152654 -59.78993625266729 -0.15582684282751913 4.883087185713722"
            ),
        ),
    ),
    dense_order=4,
    digits=14,
    source="Steinebach, Construction of Rosenbrock-Wanner method Rodas5P, BIT 63 (2023) 27",
)

ALL = (ROSENBROCK23, ROS3P, RODAS3, RODAS4, RODAS4P, RODAS5P)
