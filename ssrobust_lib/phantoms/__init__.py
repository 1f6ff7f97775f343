"""Embedded phantoms: radiographs and CT scans of made-up patients, written in the published layouts of the real sets.

Enter: a folder, a number of patients, a size and a seed. Leave: files that the loaders of the real sets read, so that
the default run exercises the whole path of the study (paper, section 3.1) where the real data cannot be had.

- `xray_files.write_rsna_phantoms`; anatomy and projection in `xray` and the modules that it names.
- `xray_pictures`: the layouts of Kermany and NIH; `own_images`: a reader's own table and Decathlon folder.
- `ct_files.write_visceral_phantoms` and its siblings.
- `writers.PHANTOM_WRITERS`: every writer by the name of its set.
- `realism`: intensity and spectrum of phantoms against real radiographs.
"""
