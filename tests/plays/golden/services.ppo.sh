# PPO on the Ray cluster that this entry point was submitted to.
set -euo pipefail
source /home/alice/training/multinode/.mnrun/activate.sh
cd /home/alice/training/multinode/ppo
# Ends the training when it stands still, with evidence, once no step came for long.
python -B "$MNRUN_RECORD/observer.py" "$MNRUN_RECORD/observer.json" &
OBSERVER_PID=$!
trap 'kill "$OBSERVER_PID" || true; wait "$OBSERVER_PID" || true' EXIT
# Steps between two checkpoints, by what an earlier attempt took; empty before there is one.
MNRUN_SAVE_EVERY=$(cat "$MNRUN_RECORD/save_every" || true)
export WANDB_DIR=/home/alice/training/multinode/ppo
# Starts the services, waits until they answer, and ends them with the training.
python -B "$MNRUN_RECORD/services.py" "$MNRUN_RECORD/services.json" \
    python -m verl.trainer.main_ppo \
    critic.model.path=/home/alice/training/multinode/sft/checkpoints/global_step_58/huggingface \
    trainer.use_v1=true \
    transfer_queue.backend.SimpleStorage.num_data_storage_units=2 \
    'data.train_files=[/home/alice/data/gsm8k/train.parquet]' \
    'data.val_files=[/home/alice/data/gsm8k/test.parquet]' \
    trainer.nnodes=2 \
    trainer.n_gpus_per_node=8 \
    trainer.default_local_dir=/home/alice/training/multinode/ppo/checkpoints \
    actor_rollout_ref.model.path=/home/alice/training/multinode/sft/checkpoints/global_step_58/huggingface \
    'trainer.logger=[console,wandb]' \
    max_steps=4 \
    ${MNRUN_SAVE_EVERY:+"trainer.save_freq=$MNRUN_SAVE_EVERY"} \
    ${MNRUN_SAVE_EVERY:+trainer.max_actor_ckpt_to_keep=3} \
    ${MNRUN_SAVE_EVERY:+trainer.max_critic_ckpt_to_keep=3}
