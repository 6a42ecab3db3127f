"""mnrun: multi-node SFT and PPO training on Slurm and Ray.

This package is the command line: it selects a playbook of the collection `mnrun.train`, runs it
with ansible-runner and shows its progress. What happens on the cluster is in the collection.
"""
