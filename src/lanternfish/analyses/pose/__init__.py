"""Pose of animals: frames to label, training from few labels, and results of other programs.

    pose_frames   frames of a video that are worth labelling; its job has the labelling page
    pose          trains on labelled frames (sleap-nn, in an environment of its own) and predicts
    pose_import   reads results of DeepLabCut and SLEAP

Positions are (x, y) in pixels; (0, 0) is the centre of the top left pixel. Frames count from 0.
"""
