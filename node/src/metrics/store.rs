//! What the tensor store holds.

use prometheus_endpoint::{register, Gauge, PrometheusError, Registry, U64};

use crate::tensor_store::Usage;

/// Gauges of the tensor store.
pub(super) struct Gauges {
	bytes: Gauge<U64>,
	quota: Gauge<U64>,
	tensors: Gauge<U64>,
	pinned: Gauge<U64>,
	pinned_bytes: Gauge<U64>,
}

impl Gauges {
	pub(super) fn new(registry: &Registry) -> Result<Self, PrometheusError> {
		let gauge = |name: &str, help: &str| register(Gauge::new(name, help)?, registry);
		Ok(Self {
			bytes: gauge("labora_tensor_store_bytes", "Bytes of all tensors on disk")?,
			quota: gauge("labora_tensor_store_quota_bytes", "Bytes that tensors may take")?,
			tensors: gauge("labora_tensor_store_tensors", "Tensors on disk")?,
			pinned: gauge("labora_tensor_store_pinned", "Tensors on disk that tasks need, so that they stay")?,
			pinned_bytes: gauge("labora_tensor_store_pinned_bytes", "Bytes of the tensors that tasks need")?,
		})
	}

	pub(super) fn set(&self, usage: &Usage) {
		self.bytes.set(usage.bytes);
		self.quota.set(usage.quota);
		self.tensors.set(usage.tensors);
		self.pinned.set(usage.pinned);
		self.pinned_bytes.set(usage.pinned_bytes);
	}
}
