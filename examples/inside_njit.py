"""A compiled gradient called inside the user's own @njit function: a small solver that never returns to Python.

Newton's method for the root of Kepler's equation M = E - e sin(E), for a million planets.
"""

import time

import numba
import numpy as np

import symgrad as sg

E, e, M = sg.symbols("E e M")
kepler = E - e * sg.sin(E) - M
f = sg.compile(kepler, inputs=[E, e, M], wrt=E)
value_and_slope = f.jit_value_and_grad

print(f"f(E) = {kepler},   f'(E) = {sg.grad(kepler, E)}")


@numba.njit
def solve(e, mean_anomalies):
    result = np.empty_like(mean_anomalies)
    for i in range(len(mean_anomalies)):
        guess = mean_anomalies[i]
        for _ in range(20):
            value, slope = value_and_slope(guess, e, mean_anomalies[i])
            step = value / slope
            guess -= step
            if abs(step) < 1e-14:
                break
        result[i] = guess
    return result


mean = np.linspace(0.0, np.pi, 1_000_000)
solve(0.3, mean[:2])  # numba compiles
begun = time.perf_counter()
anomaly = solve(0.3, mean)
seconds = time.perf_counter() - begun
print(f"1,000,000 equations in {seconds:.2f} s; largest residual {np.abs(anomaly - 0.3 * np.sin(anomaly) - mean).max():.1e}")
assert np.abs(anomaly - 0.3 * np.sin(anomaly) - mean).max() < 1e-12
