# PPO on the Ray cluster that this entry point was submitted to.
set -euo pipefail
source /home/alice/training/multinode/.mnrun/activate.sh
cd /home/alice/training/multinode/ppo
# Ends the training when it stands still, with evidence, once no step came for long.
python -B "$MNRUN_RECORD/observer.py" "$MNRUN_RECORD/observer.json" &
OBSERVER_PID=$!
trap 'kill "$OBSERVER_PID" || true; wait "$OBSERVER_PID" || true' EXIT
export WANDB_DIR=/home/alice/training/multinode/ppo
python -m verl.trainer.main_ppo \
    critic.model.path=/home/alice/training/multinode/sft/checkpoints/global_step_58/huggingface \
    'data.train_files=[/home/alice/data/gsm8k/train.parquet]' \
    'data.val_files=[/home/alice/data/gsm8k/test.parquet]' \
    trainer.nnodes=2 \
    trainer.n_gpus_per_node=8 \
    trainer.default_local_dir=/home/alice/training/multinode/ppo/checkpoints \
    actor_rollout_ref.model.path=/home/alice/training/multinode/sft/checkpoints/global_step_58/huggingface \
    'trainer.logger=[console,wandb]' \
    algorithm.adv_estimator=gae \
    algorithm.kl_ctrl.kl_coef=0.001 \
    data.train_batch_size=256 \
    data.max_prompt_length=512 \
    data.max_response_length=256 \
    data.dataloader_num_workers=0 \
    actor_rollout_ref.actor.optim.lr=1e-06 \
    actor_rollout_ref.actor.ppo_mini_batch_size=64 \
    actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=4 \
    actor_rollout_ref.rollout.name=vllm \
    actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=8 \
    actor_rollout_ref.rollout.tensor_model_parallel_size=1 \
    actor_rollout_ref.rollout.gpu_memory_utilization=0.9 \
    actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=4 \
    critic.optim.lr=1e-05 \
    critic.ppo_micro_batch_size_per_gpu=4 \
    trainer.project_name=competition_verl_test \
    trainer.experiment_name=llama3.2_SFT_multinode_ppo \
    trainer.val_before_train=false \
    trainer.save_freq=10 \
    trainer.max_actor_ckpt_to_keep=3 \
    trainer.max_critic_ckpt_to_keep=3 \
    trainer.test_freq=10 \
    trainer.total_epochs=15
