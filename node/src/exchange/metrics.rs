//! What an operator sees of the exchange.

use prometheus_endpoint::{register, Counter, CounterVec, Gauge, Opts, PrometheusError, Registry, U64};

/// Counters and gauges of the exchange. Without a registry they count for nobody.
#[derive(Clone)]
pub struct Metrics {
	/// Bytes of groups that peers were sent.
	pub sent: Counter<U64>,
	/// Bytes of groups that came from peers and are right.
	pub received: Counter<U64>,
	/// Questions of peers, by what became of them.
	pub asked: CounterVec<U64>,
	/// Questions to peers, by what became of them.
	pub asking: CounterVec<U64>,
	/// Tensors that are looked for or on their way.
	pub wanted: Gauge<U64>,
	/// Units that were computed again, as nobody served what they gave.
	pub recomputed: Counter<U64>,
}

impl Metrics {
	/// The metrics, in a registry if there is one.
	pub fn new(registry: Option<&Registry>) -> Result<Self, PrometheusError> {
		let outcome = &["outcome"];
		let metrics = Self {
			sent: Counter::new("labora_tensor_sent_bytes", "Bytes of tensors that peers were sent")?,
			received: Counter::new(
				"labora_tensor_received_bytes",
				"Bytes of tensors that came from peers and are right",
			)?,
			asked: CounterVec::new(Opts::new("labora_tensor_requests_in", "Requests of peers for tensors"), outcome)?,
			asking: CounterVec::new(Opts::new("labora_tensor_requests_out", "Requests to peers for tensors"), outcome)?,
			wanted: Gauge::new("labora_tensors_wanted", "Tensors that are looked for or on their way")?,
			recomputed: Counter::new(
				"labora_tensor_recomputed_units",
				"Units that were computed again, as no peer served what they gave",
			)?,
		};
		if let Some(registry) = registry {
			register(metrics.sent.clone(), registry)?;
			register(metrics.received.clone(), registry)?;
			register(metrics.asked.clone(), registry)?;
			register(metrics.asking.clone(), registry)?;
			register(metrics.wanted.clone(), registry)?;
			register(metrics.recomputed.clone(), registry)?;
		}
		Ok(metrics)
	}
}
