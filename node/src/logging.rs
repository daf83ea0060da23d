//! The log as JSON, for programs. The SDK's own logger writes lines and has no place for another format, so a node that is asked for
//! JSON is started as the SDK starts it, but for the logger.

use std::fmt;

use clap::ValueEnum;
use sc_cli::{CliConfiguration, Error, Result, Runner, Signals, SubstrateCli};
use serde_json::{Map, Value};
use tracing::{
	field::{Field, Visit},
	Event, Subscriber,
};
use tracing_log::NormalizeEvent;
use tracing_subscriber::{
	fmt::{
		format::Writer,
		time::{FormatTime, SystemTime},
		FmtContext, FormatEvent, FormatFields,
	},
	registry::LookupSpan,
	EnvFilter,
};

use crate::cli::Cli;

/// What is logged unless asked otherwise: as by the SDK's own logger.
const DEFAULT: &str = "info,ws=off,yamux=off,regalloc=off,cranelift_codegen=off,cranelift_wasm=warn,hyper=warn,\
	hickory_proto=off,libp2p_mdns::behaviour::iface=off,rustls::common_state=off,rustls::conn=off";
/// Open files that a node may need: as the SDK has it.
const OPEN_FILES: u64 = 10_000;

/// How the log is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
	/// Lines for people.
	#[default]
	Lines,
	/// One JSON object a line.
	Json,
}

/// What [`SubstrateCli::create_runner`] makes, with a log of JSON objects.
pub fn json_runner(cli: &Cli) -> Result<Runner<Cli>> {
	let runtime = sc_cli::build_runtime()?;
	let signals = runtime.block_on(async { Signals::capture() })?;
	let config = cli.create_configuration(&cli.run, runtime.handle().clone())?;
	sp_panic_handler::set(&Cli::support_url(), &Cli::impl_version());
	init(&cli.run.log_filters()?)?;
	// A database keeps many files open.
	match fdlimit::raise_fd_limit() {
		Ok(fdlimit::Outcome::LimitRaised { to, .. }) if to < OPEN_FILES => {
			log::warn!("Only {to} files can be open at a time; {OPEN_FILES} are recommended");
		}
		Ok(_) => {}
		Err(error) => log::warn!("The limit of open files cannot be raised: {error}"),
	}
	Runner::new(config, runtime, signals)
}

/// Directives of the default, the environment and the command line: of the same target the last one counts.
fn filter(environment: &str, directives: &str) -> Result<EnvFilter> {
	let all = [DEFAULT, environment, directives].into_iter().filter(|directives| !directives.is_empty());
	let all = all.collect::<Vec<_>>().join(",");
	EnvFilter::try_new(all).map_err(|error| Error::Input(format!("what to log cannot be read: {error}")))
}

fn init(directives: &str) -> Result<()> {
	let filter = filter(&std::env::var("RUST_LOG").unwrap_or_default(), directives)?;
	let logger = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).event_format(Objects);
	logger.try_init().map_err(Error::Application)
}

/// Writes every event as an object of JSON, its fields beside where and when it happened.
struct Objects;

impl<S, N> FormatEvent<S, N> for Objects
where
	S: Subscriber + for<'a> LookupSpan<'a>,
	N: for<'a> FormatFields<'a> + 'static,
{
	fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
		// What comes by way of the `log` crate has its target and level among its fields.
		let normalized = event.normalized_metadata();
		let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
		let mut time = String::new();
		SystemTime.format_time(&mut Writer::new(&mut time))?;
		let thread = std::thread::current();
		let mut fields = Fields::default();
		event.record(&mut fields);
		// Last, so that no field of an event passes for one of these.
		fields.0.extend([
			("timestamp".into(), time.into()),
			("level".into(), metadata.level().as_str().into()),
			("target".into(), metadata.target().into()),
			("thread".into(), thread.name().into()),
		]);
		writeln!(writer, "{}", Value::Object(fields.0))
	}
}

/// The fields of an event; those of the `log` crate are left out.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
	fn put(&mut self, field: &Field, value: Value) {
		if !field.name().starts_with("log.") {
			self.0.insert(field.name().into(), value);
		}
	}
}

impl Visit for Fields {
	fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
		self.put(field, format!("{value:?}").into());
	}

	fn record_str(&mut self, field: &Field, value: &str) {
		self.put(field, value.into());
	}

	fn record_bool(&mut self, field: &Field, value: bool) {
		self.put(field, value.into());
	}

	fn record_u64(&mut self, field: &Field, value: u64) {
		self.put(field, value.into());
	}

	fn record_i64(&mut self, field: &Field, value: i64) {
		self.put(field, value.into());
	}

	fn record_f64(&mut self, field: &Field, value: f64) {
		self.put(field, value.into());
	}
}

#[cfg(test)]
mod tests {
	use super::*;
	use parking_lot::Mutex;
	use std::sync::Arc;

	#[test]
	fn the_last_directive_of_a_target_counts() {
		let filter = |environment, directives| filter(environment, directives).unwrap().to_string();
		assert!(filter("", "").contains("info"));
		let all = filter("labora=warn,yamux=debug", "labora=debug");
		assert!(all.contains("labora=debug") && !all.contains("labora=warn"), "{all}");
		assert!(all.contains("yamux=debug") && !all.contains("yamux=off"), "{all}");
	}

	#[test]
	fn what_is_no_directive_is_refused() {
		assert!(matches!(filter("", "labora=loud"), Err(Error::Input(why)) if why.contains("cannot be read")));
	}

	/// Where a logger writes.
	#[derive(Clone, Default)]
	struct Sink(Arc<Mutex<Vec<u8>>>);

	impl std::io::Write for Sink {
		fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
			self.0.lock().write(bytes)
		}

		fn flush(&mut self) -> std::io::Result<()> {
			Ok(())
		}
	}

	#[test]
	fn an_event_is_an_object_with_its_fields() {
		let sink = Sink::default();
		let writer = sink.clone();
		let logger = tracing_subscriber::fmt().event_format(Objects).with_writer(move || writer.clone()).finish();
		tracing::subscriber::with_default(logger, || {
			tracing::warn!(target: "labora::test", peers = 3u64, name = "a \"b\"\n", level = "forged", "so {}", "it is");
			tracing_log::format_trace(
				&log::Record::builder()
					.args(format_args!("by log"))
					.level(log::Level::Error)
					.target("labora::log")
					.file(Some("file.rs"))
					.build(),
			)
			.unwrap();
		});
		let text = String::from_utf8(sink.0.lock().clone()).unwrap();
		let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
		let [own, logged] = &lines[..] else { panic!("{text}") };
		let expected = [("level", "WARN"), ("target", "labora::test"), ("message", "so it is"), ("name", "a \"b\"\n")];
		assert!(expected.iter().all(|(field, value)| own[field] == *value) && own["peers"] == 3, "{own}");
		assert!(own["timestamp"].as_str().unwrap().ends_with('Z') && own["thread"].is_string(), "{own}");
		let expected = [("level", "ERROR"), ("target", "labora::log"), ("message", "by log")];
		assert!(expected.iter().all(|(field, value)| logged[field] == *value), "{logged}");
		assert_eq!(logged.as_object().unwrap().len(), 5, "{logged}");
	}
}
