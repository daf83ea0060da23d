//! A unit computed by the consensus definition alone.

use labora_graph::{OpIndex, Trace, Value};
use labora_pouw::{proof::Operand, ProofError, SealedTile, UsefulProof, UsefulSeed};
use labora_tensor::{BlockIndex, ChunkSet, Commitment, I32Tensor, Tensor};
use std::sync::Arc;

use crate::{MiningTarget, UnitPlan};

/// Trace and last parameters of a unit.
pub fn run(plan: &UnitPlan) -> (Trace, Vec<Arc<Tensor>>) {
	let program = &*plan.program;
	let mut parameters = plan.parameters.clone();
	let (mut trace, mut tail, mut sums) = (Vec::new(), Vec::new(), [0u64; 2]);
	for (step, batch) in (0u32..).zip(&plan.batches) {
		let mut outputs: Vec<Arc<Tensor>> = Vec::new();
		for (number, (_, info)) in (0u8..).zip(program.iter()) {
			let index = OpIndex::new(program, step, number).unwrap();
			let mut bytes = Vec::new();
			for row in 0..info.shape.block_rows() {
				for col in 0..info.shape.block_cols() {
					let block = BlockIndex { row, col };
					let needs = program.needs(number, block).unwrap();
					let inputs: Vec<_> = needs
						.iter()
						.map(|need| {
							let (tensor, offset) = match need.value {
								Value::Features => (&plan.features, batch * program.graph().batch / 32),
								Value::Labels => (plan.labels.as_ref().unwrap(), batch * program.graph().batch / 32),
								Value::Parameter(i) => (&parameters[usize::from(i)], 0),
								Value::Op(i) => (&outputs[usize::from(i)], 0),
							};
							let rows = program.value(need.value).unwrap().0.block_rows();
							let chunks = need.region.chunks(tensor.shape(), tensor.element(), offset, rows).unwrap();
							tensor.open(&chunks).unwrap().data
						})
						.collect();
					let inputs: Vec<_> = inputs.iter().map(Vec::as_slice).collect();
					bytes.extend(program.eval_block(index, block, &inputs, &plan.context).unwrap().to_bytes());
				}
			}
			let output = Tensor::from_bytes(info.shape, info.element, bytes).unwrap();
			trace.push(output.commitment());
			outputs.push(Arc::new(output));
		}
		if let Some(op) = program.metrics_op() {
			let metrics = &outputs[usize::from(op)];
			for (sum, col) in sums.iter_mut().zip(0..) {
				*sum += (0..metrics.shape().rows).map(|row| I32Tensor::get(metrics, row, col) as u64).sum::<u64>();
			}
			let mut entry = [0; 32];
			entry[..8].copy_from_slice(&sums[0].to_le_bytes());
			entry[8..16].copy_from_slice(&sums[1].to_le_bytes());
			tail.push(Commitment(entry));
		}
		for (parameter, index) in parameters.iter_mut().zip(0u8..) {
			if let Some(op) = program.update_of(index) {
				*parameter = outputs[usize::from(op)].clone();
			}
		}
	}
	trace.append(&mut tail);
	(Trace(trace), parameters)
}

/// Verifies a proof as the chain does: everything but the openings follows from the plan and the trace.
pub fn verify(
	plan: &UnitPlan,
	trace: &Trace,
	target: &MiningTarget,
	proof: &UsefulProof,
) -> Result<SealedTile, ProofError> {
	let program = &*plan.program;
	let (step, number) = proof.op.split(program);
	let product = program.op(number).unwrap().1.product.unwrap();
	assert!(product.eligible());
	let operands = program.operands(number).unwrap();
	let needs = program.needs(number, BlockIndex { row: proof.tile.row, col: proof.tile.col }).unwrap();
	let offset = plan.batches[step as usize] * program.graph().batch / 32;
	let side = |at: usize| -> (Commitment, ChunkSet, bool) {
		let (value, transposed) = operands[at];
		let (shape, element) = program.value(value).unwrap();
		let (commitment, stored, offset) = match value {
			Value::Features => (plan.features_commitment, plan.features.shape(), offset),
			Value::Op(i) => (trace.0[(proof.op.0 - u32::from(number) + u32::from(i)) as usize], shape, 0),
			_ => unreachable!("no test multiplies these"),
		};
		(commitment, needs[at].region.chunks(stored, element, offset, shape.block_rows()).unwrap(), transposed)
	};
	let ((a, chunks_a, transposed_a), (b, chunks_b, transposed_b)) = (side(0), side(1));
	assert_eq!((proof.a, proof.b, proof.assignment), (a, b, target.assignment));
	let MiningTarget { genesis, parent, assignment, difficulty } = target;
	let seed = UsefulSeed { genesis, parent, assignment: *assignment, op: proof.op, a: &a, b: &b, product }.seed();
	let a = Operand { chunks: chunks_a, transposed: transposed_a };
	let b = Operand { chunks: chunks_b, transposed: transposed_b };
	proof.verify(&seed, &product, &a, &b, *difficulty)
}
