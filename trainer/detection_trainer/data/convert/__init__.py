"""Turns annotated photographs into TFRecords: `voc` or `coco` reads, `tiles` cuts, `writer` writes.

    photographs = read_voc(folder).photographs
    convert(photographs, classes, Plan(tiling=Tiling(side=200)), open_folder(uri))

Called by `detection-trainer convert` and by the demo. Imports no TensorFlow.
"""
