"""Why a model says what it says: where it looks, and what each modality adds."""
