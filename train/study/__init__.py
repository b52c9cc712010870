"""Compares many models on one data set, with Ray Data and Ray Tune."""
