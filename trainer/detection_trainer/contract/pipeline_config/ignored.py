"""The ignored fields of a pipeline.config and the reasons, by the end of their path."""

_TF1 = "the OD API's TF2 trainer does not read it either"
_QUEUES = "how far data is read ahead is decided by this program; no result depends on it"
_LOOKS = "evaluation.sampleImages decides which pictures are drawn"
_COCO = "evaluations give COCO metrics, of every image"
_BOXES = "only boxes and classes are read from records"

REASONS = {
    "initializer": "it affects fresh variables only; this program has its own initial values",
    "regularize_depthwise": _TF1,
    "min_depth": "it has no effect without a depth_multiplier",
    "inplace_batchnorm_update": "statistics are always updated with the step",
    "use_matmul_gather": "it affects speed on TPUs, not results",
    "use_static_shapes": "it affects speed on TPUs, not results",
    "implicit_example_weight": "it is used only with use_confidences_as_targets",
    "return_raw_detections_during_predict": "it does not affect training",
    "min_num_negative_samples": "it is used only with expected_loss_weights",
    "desired_negative_sampling_ratio": "it is used only with expected_loss_weights",
    "anchorwise_output": "losses are summed over anchors either way",
    "max_classes_per_detection": "it is used only with use_class_agnostic_nms",
    "use_combined_nms": "another implementation of the same suppression",
    "use_hard_nms": "another implementation of the same suppression",
    "use_cpu_nms": "another implementation of the same suppression",
    "change_coordinate_frame": "images are not padded, so it has no effect",
    "replace_preprocessor_with_placeholder": "it is for exports to devices",
    "keypoint_flip_permutation": "there are no keypoints",
    "keypoint_rot_permutation": "there are no keypoints",
    "sync_replicas": _TF1,
    "startup_delay_steps": _TF1,
    "replicas_to_aggregate": _TF1,
    "batch_queue_capacity": _TF1,
    "num_batch_queue_threads": _TF1,
    "prefetch_queue_capacity": _TF1,
    "bias_grad_multiplier": _TF1,
    "freeze_variables": f"{_TF1}; to freeze, name groups in spec.freeze",
    "update_trainable_variables": f"{_TF1}; to freeze, name groups in spec.freeze",
    "keep_checkpoint_every_n_hours": f"{_TF1}; use checkpoints.keepLast and keepEverySteps",
    "run_fine_tune_checkpoint_dummy_computation": "the model is built before it is restored",
    "unpad_groundtruth_tensors": "boxes are never padded into the loss",
    "retain_original_images": "it does not affect results",
    "retain_original_image_additional_channels": "it does not affect results",
    "summarize_gradients": "this program writes TensorBoard events of its own",
    "use_bfloat16": "the OD API uses it on TPUs only; here set model.precision in a spec",
    "max_number_of_boxes": "every box of an image is used",
    "name": "a name has no effect",
    "shuffle":
        "training data is always shuffled, in another order each epoch; evaluation data never is",
    "num_epochs": "steps decides how long it trains",
    "use_display_name": "class names come from the label map",
    "include_source_id": "images are identified by their position",
    "load_instance_masks": _BOXES,
    "mask_type": _BOXES,
    "num_keypoints": _BOXES,
    "keypoint_type_weight": _BOXES,
    "load_dense_pose": _BOXES,
    "load_track_id": _BOXES,
    "load_keypoint_depth_features": _BOXES,
    "use_keypoint_label_map": _BOXES,
    "load_context_image_ids": _BOXES,
    "frame_index": _BOXES,
    **dict.fromkeys(
        (
            "shuffle_buffer_size", "filenames_shuffle_buffer_size", "num_readers",
            "num_parallel_batches", "num_prefetch_batches", "queue_capacity", "min_after_dequeue",
            "read_block_length", "prefetch_size", "num_parallel_map_calls", "drop_remainder",
        ),
        _QUEUES,
    ),
    "graph_rewriter": _TF1,
}  # fmt: skip
EVALUATION = {
    "metrics_set": _COCO,
    "num_examples": _COCO,
    "batch_size": "evaluation uses train_config.batch_size",
    "num_visualizations": _LOOKS,
    "use_moving_averages": "evaluations use the moving average wherever there is one",
    "eval_interval_secs": "use evaluation.everySteps",
    "max_evals": "use evaluation.everySteps",
}
UNKNOWN = "unknown field: it is kept and not used"


def reason_of(path: str) -> str:
    """Return why the field at `path` is ignored."""
    name = path.rpartition(".")[2]
    if path.startswith("eval_config."):
        return EVALUATION.get(name, "it affects how evaluations are shown, not their results")
    return REASONS.get(name, UNKNOWN)
