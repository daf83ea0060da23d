//! Builds the runtime's Wasm blob, with the hash of its metadata in it: wallets check what they sign against it (RFC 78).

fn main() {
	#[cfg(feature = "std")]
	substrate_wasm_builder::WasmBuilder::init_with_defaults().enable_metadata_hash("LAB", 12).build();
}
