"""Mathematics of dense networks: pure functions of arrays that take their array namespace as `xp`.

Legend for every file of this folder. Axes are counted from the end, so any number of leading axes (a committee of
networks) may stand in front of the shapes given here.

    B            rows of a batch               x  (B, n_in)     rows of input
    K            classes                       y  (B,)          class indices, or (B, n_out) numbers to predict
                                               labels (B, n_out)  0 or 1
    n_in, n_out  widths around a layer         w  (B,)          row weights
    W  (n_in, n_out), b (n_out,)               z = a_prev @ W + b,   a = activation(z)
    gamma (n_out,), of a normalised layer      z = gamma * normalised(a_prev @ W) + b
    delta = dL/dz,  dW = dL/dW,  db = dL/db    learning_rate (), of one step

Read mlp.py with activations.py and losses.py first, then optimizers.py and step.py; every other file is one part of a
step (schedules, regularization, normalization, random with dropout, mixup) or its start (initializers).
"""
