"""What the page of the analysis says."""

DOCUMENTATION = """\
# Tracking without labels

Finds animals as what differs from the background - the median of frames spread over the video -
and follows each through all frames.

**What goes in.** A video from a camera that does not move, with the number of animals. Threshold
and sizes are suggested from the video; the report says which were used. An arena - a shape, or a
mask picture - keeps out what moves outside of it.

**What comes out.** `positions.csv` and one NWB file (ndx-pose) for each animal; a labelled video;
ways, speed, occupancy, time in regions, distances between animals; a strip that shows where each
animal was found, and where its identity is unsure.

**Identities.** Animals that touch become one blob. They are followed through it, and afterwards
told apart by where they should be and by how they look (size and contrast). `identity` is the
probability that a name is still on the animal that had it in the first frame. It is estimated
from how animals of this video move and vary while they are alone. A name under 0.9 has a question
mark in the video.

**Limits.** An animal that rests in one place for more than half of the video becomes background.
Animals that look alike keep their identities through a few meetings, not through many: the
confidence falls towards one in the number of animals. Shadows and reflections that move count as
animals unless the arena leaves them out. A position is the centre of the visible area, not of the
head: tools that report another point of the body differ by a constant along it.

**Known positions.** With a CSV of frame, animal, x_px and y_px the report says coverage, error
and lasting swaps against it.

A killed job goes on after the last thousand frames; a cancelled one keeps the positions that it
has.
"""
