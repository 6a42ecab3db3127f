# PPO on the Ray cluster that this entry point was submitted to.
set -euo pipefail
source /home/alice/training/multinode/.mnrun/activate.sh
cd /home/alice/training/multinode/ppo
# Ends the training when it stands still, with evidence, once no step came for long.
python -B "$MNRUN_RECORD/observer.py" "$MNRUN_RECORD/observer.json" &
OBSERVER_PID=$!
trap 'kill "$OBSERVER_PID" || true; wait "$OBSERVER_PID" || true' EXIT
export WANDB_DIR=/home/alice/training/multinode/ppo
python -m openrlhf.cli.train_ppo_ray \
    --eval.dataset \
    /home/alice/data/gsm8k/test.parquet \
    --ckpt.save_steps \
    10 \
    --vllm.num_engines \
    16 \
    --vllm.enable_sleep \
    --ds.enable_sleep \
    --vllm.gpu_memory_utilization \
    0.5 \
    --actor.model_name_or_path \
    /home/alice/training/multinode/sft/checkpoints/global_step_58/huggingface \
    --data.prompt_dataset \
    /home/alice/data/gsm8k/train.parquet \
    --ckpt.path \
    /home/alice/training/multinode/ppo/checkpoints \
    --ckpt.output_dir \
    /home/alice/training/multinode/ppo/checkpoints/model \
    --ckpt.load_enable \
    --ckpt.max_num \
    1000000 \
    --ckpt.best_metric_key \
    none \
    --actor.num_nodes \
    2 \
    --actor.num_gpus_per_node \
    8 \
    --ref.num_nodes \
    2 \
    --ref.num_gpus_per_node \
    8 \
    --critic.num_nodes \
    2 \
    --critic.num_gpus_per_node \
    8 \
    --reward.num_nodes \
    2 \
    --reward.num_gpus_per_node \
    8 \
    --train.colocate_all \
    --rollout.n_samples_per_prompt \
    5 \
    --algo.kl.use_loss \
    --algo.kl.estimator \
    k3 \
    --algo.advantage.estimator \
    group_norm \
    --logger.wandb.key \
    wandb \
    --reward.remote_url \
    /home/alice/reward.py
