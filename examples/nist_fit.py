"""Curve fitting with a symbolic Jacobian: NIST's Thurber data, a hard one, solved with scipy.optimize.least_squares.

The model is a line of text. symgrad derives the Jacobian of the residuals, and the result is compared with the
certified values that NIST computed with 500 digits. Data: see data/README.md (public domain).
"""

from pathlib import Path

import numpy as np
from scipy.optimize import least_squares

import symgrad as sg

lines = (Path(__file__).parent / "data" / "Thurber.dat").read_text().splitlines()
y_data, x_data = np.array([line.split() for line in lines[60:97]], dtype=float).T
rows = [line.split() for line in lines[40:47]]
start, certified = (np.array([row[k] for row in rows], dtype=float) for k in (2, 4))

# y = (b1 + b2 x + b3 x² + b4 x³) / (1 + b5 x + b6 x² + b7 x³)
b, x, y = sg.symbol("b", 7), sg.symbol("x", "n"), sg.symbol("y", "n")
model = sg.parse("(b[0] + b[1]*x + b[2]*x^2 + b[3]*x^3) / (1 + b[4]*x + b[5]*x^2 + b[6]*x^3)", shapes={"b": (7,), "x": ("n",)})
residuals = sg.compile(model - y, inputs=[b, x, y], wrt=b)

solution = least_squares(residuals, start, jac=residuals.jacobian, args=(x_data, y_data), method="lm", xtol=1e-15, ftol=1e-15, gtol=1e-15)

print(f"y = {model}\n")
print(f"{'':3}{'start':>10}{'fitted':>20}{'certified by NIST':>20}{'digits':>8}")
for k in range(7):
    error = abs(solution.x[k] / certified[k] - 1)
    print(f"b{k + 1:<2}{start[k]:10g}{solution.x[k]:20.10e}{certified[k]:20.10e}{-np.log10(max(error, 1e-11)):8.1f}")
print(f"\n{solution.nfev} evaluations of the residuals, {solution.njev} of their Jacobian")
assert np.allclose(solution.x, certified, rtol=1e-7)
