"""Many runs: ablation, reproduction, comparison."""
