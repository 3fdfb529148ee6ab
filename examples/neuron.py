"""One neuron, its gradient by hand and by symgrad.

The chain rule through o = tanh(n), n = x1*w1 + x2*w2 + b, done on paper, is four lines. symgrad derives the
same four lines as formulas, and compiles them.
"""

import math

import symgrad as sg

# --- by hand: do/dn = 1 - o**2, and n is linear in everything
values = {"x1": 2.0, "x2": 0.0, "w1": -3.0, "w2": 1.0, "b": 6.8813735870195432}
n = values["x1"] * values["w1"] + values["x2"] * values["w2"] + values["b"]
o = math.tanh(n)
dn = 1 - o**2
by_hand = {"x1": values["w1"] * dn, "x2": values["w2"] * dn, "w1": values["x1"] * dn, "w2": values["x2"] * dn, "b": dn}

# --- by symgrad
x1, x2, w1, w2, b = sg.symbols("x1 x2 w1 w2 b")
neuron = sg.tanh(x1 * w1 + x2 * w2 + b)
f = sg.compile(neuron)
output, gradient = f.value_and_grad(**values)

print(f"o = {neuron}\n")
print(f"{'':4}{'formula':50}{'symgrad':>10}{'by hand':>10}")
print(f"{'o':4}{'':50}{output:10.6f}{o:10.6f}")
for symbol in f.inputs:
    name = symbol.name
    print(f"{name:4}{'do/d' + name + ' = ' + str(sg.grad(neuron, symbol)):50}{gradient[name]:10.6f}{by_hand[name]:10.6f}")
    assert abs(gradient[name] - by_hand[name]) < 1e-15

# Any node can be differentiated by, intermediate ones too; a node that is used twice gets the sum.
d = x1 * x2 + b
loss = d * w1 + d**2
print(f"\nL = {loss},  with d = {d}:  dL/dd = {sg.grad(loss, d)}")
