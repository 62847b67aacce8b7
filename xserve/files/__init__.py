"""The only reader and writer of definition, deploy and settings files.

From the bytes upwards: `guard`, `scalars`, `tree`, `yaml12`, `json_strict` and `syntax` turn bytes into plain data
with places; `names`, `reader` and `sources` find and open files; `examine` judges one; `record` and `removal` say when
a change counts; `precedence` says who owns a name; `store` is the pass over everything, and `journal` with `keeping`
what outlives a restart. Beside them `layers` says where all that lies, `watch` wakes the look early, `preview`
answers what an edit would do, and `writer` writes.
"""
