"""Checks of the texts of a figure."""

import itertools


def assert_texts_inside_and_apart(made):
    """Check that every text lies in the figure, and that no tick label of an axis touches the next."""
    renderer = made.canvas.get_renderer()
    for axes in made.axes:
        box = axes.get_tightbbox(renderer)
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= made.bbox.width + 1
        assert box.y1 <= made.bbox.height
        for axis, ends in ((axes.xaxis, axes.bbox.intervalx), (axes.yaxis, axes.bbox.intervaly)):
            shown = [label for label in axis.get_ticklabels() if label.get_visible() and label.get_text()]
            boxes = [label.get_window_extent(renderer) for label in shown]
            middles = [box.intervalx.mean() if axis is axes.xaxis else box.intervaly.mean() for box in boxes]
            pairs = zip(boxes, middles, strict=True)
            boxes = [box for box, middle in pairs if ends[0] - 1 <= middle <= ends[1] + 1]
            assert not any(one.overlaps(other) for one, other in itertools.pairwise(boxes)), shown
    titles = [text.get_window_extent(renderer) for text in made.texts]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(titles, 2))
    assert all(title.x1 <= made.bbox.width for title in titles)
