"""1,797 real handwritten digits: softmax, cross-entropy, Adam, minibatches, validation after every epoch."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import symgrad as sg

images, labels = load_digits(return_X_y=True)
images = (images - images.mean()) / images.std()
x_train, x_test, t_train, t_test = train_test_split(images, labels, test_size=0.2, stratify=labels, random_state=0)

net = sg.nn.MLP(64, [64, 32, 10], activation="relu")
x, t = sg.symbol("x", ("n", 64)), sg.symbol("t", "n", integer=True)
logits = net(x)
loss = sg.nn.cross_entropy(logits, t)
accuracy = sg.equal(sg.argmax(logits, axis=1), t).mean()

fit = sg.fit(loss, net.init(seed=0), {"x": x_train, "t": t_train}, optimizer=sg.optim.Adam(3e-3), epochs=30, batch_size=32,
             validation={"x": x_test, "t": t_test}, metrics={"accuracy": accuracy}, progress=False)

print(f"{net}, {net.size} parameters")
print(f"{'epoch':>5} {'loss':>9} {'test loss':>9} {'accuracy':>9} {'test':>9}")
for k in (0, 4, 9, 19, 29):
    row = [fit.history[name][k] for name in ("loss", "val_loss", "accuracy", "val_accuracy")]
    print(f"{k + 1:5d} " + " ".join(f"{v:9.4f}" for v in row))

predict = sg.compile(sg.argmax(logits, axis=1))
wrong = np.flatnonzero(predict(x=x_test, **fit.params) != t_test)
print(f"{len(wrong)} of {len(t_test)} test images are taken for another digit")
print(f"trained in {fit.timings['train']:.2f} s, compiled in {fit.timings['total']:.2f} s")
