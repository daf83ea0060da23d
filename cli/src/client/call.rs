//! Calls without generated code: names are looked up in the chain's metadata, arguments are the chain's own types.

use codec::Encode;
use subxt::{
	ext::{scale_encode, scale_type_resolver::TypeResolver},
	tx::Payload,
};

/// A call of a pallet with its arguments, a tuple of the runtime's own types.
///
/// The metadata gives the pallet's and the call's index only; the arguments are encoded as the crates shared with the runtime
/// define them, so client and runtime cannot disagree without one of them being of another version.
#[derive(Clone, Debug)]
pub struct Call<Args> {
	pallet: &'static str,
	call: &'static str,
	args: Arguments<Args>,
}

/// Arguments that ignore what the metadata says of them.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct Arguments<Args>(Args);

impl<Args: Encode> Call<Args> {
	/// A call with a tuple of arguments.
	pub const fn new(pallet: &'static str, call: &'static str, args: Args) -> Self {
		Self { pallet, call, args: Arguments(args) }
	}
}

impl<Args: Encode> scale_encode::EncodeAsFields for Arguments<Args> {
	fn encode_as_fields_to<R: TypeResolver>(
		&self,
		_fields: &mut dyn scale_encode::FieldIter<'_, R::TypeId>,
		_types: &R,
		out: &mut Vec<u8>,
	) -> Result<(), scale_encode::Error> {
		self.0.encode_to(out);
		Ok(())
	}
}

impl<Args: Encode> Payload for Call<Args> {
	type CallData = Arguments<Args>;

	fn pallet_name(&self) -> &str {
		self.pallet
	}

	fn call_name(&self) -> &str {
		self.call
	}

	fn call_data(&self) -> &Self::CallData {
		&self.args
	}
}
