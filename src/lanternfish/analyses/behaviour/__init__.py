"""What analyses of behavioural video share: poses, tables, NWB, measures, pictures, labelled video.

`Poses` holds positions of the keypoints of animals over frames, whoever found them: a tracker
without labels (one keypoint, the centre), a pose network or a file of another tool.
"""
