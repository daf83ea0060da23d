//! `labora-attack`: plays all attacks, prints the table and writes `attack-summary.json`.

use std::{sync::Arc, time::Instant};

use anyhow::{ensure, Result};
use labora_attack::{
	live,
	real::Genesis,
	row::{head, Row},
	rows,
};

/// Says at once how a row went.
fn report(name: &str, row: &Result<Row>, since: Instant) {
	match row {
		Ok(row) => eprintln!("{:4.0} s  {}", since.elapsed().as_secs_f64(), row.attack),
		Err(error) => eprintln!("{:4.0} s  {name}: {error:?}", since.elapsed().as_secs_f64()),
	}
}

/// All rows in the table's order, as far as they went as the table says.
async fn play() -> Result<(Vec<Row>, usize)> {
	let start = Instant::now();
	let genesis = Arc::new(Genesis::read().await?);
	// The live node's minute runs beside the forged chains.
	let others = {
		let genesis = genesis.clone();
		std::thread::spawn(move || -> Result<Vec<Row>> {
			tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(live::rows(&genesis))
		})
	};
	let mut forged = Vec::new();
	macro_rules! play {
		($($row:ident),*) => {$(
			let row = rows::$row(&genesis).await;
			report(stringify!($row), &row, start);
			forged.push(row);
		)*};
	}
	play!(random_operands, random_activations, copies, equivocation, stale_parent, seal_and_abandon, re_mining);
	play!(own_machines, timestamps, private_majority, confederate, full_blocks);
	let live = others.join().map_err(|_| anyhow::anyhow!("the live rows panicked"))?;
	if let Err(error) = &live {
		eprintln!("live rows: {error:?}");
	}
	eprintln!("{:4.0} s  live rows", start.elapsed().as_secs_f64());
	// Last, as it measures: nothing else runs by then.
	let row = rows::degenerate_parameters(&genesis).await.and_then(|mut row| {
		let [zeros, rank_one] = rows::tickets_a_second(&genesis)?;
		row.outcome += &format!("; they come at {zeros:.3} and {rank_one:.3} of the honest rate");
		Ok(row)
	});
	report("degenerate_parameters", &row, start);
	forged.push(row);

	let mut failed = forged.iter().filter(|row| row.is_err()).count() + usize::from(live.is_err());
	let mut forged = forged.into_iter().map(Result::ok);
	let mut table = Vec::new();
	let mut take = |count: usize, table: &mut Vec<Row>| table.extend(forged.by_ref().take(count).flatten());
	take(2, &mut table);
	table.extend(live.unwrap_or_default());
	take(5, &mut table);
	let mut rest = Vec::new();
	take(6, &mut rest);
	// The measured row stands before the sponsor's other one.
	rest.sort_by_key(|row| !row.attack.starts_with("a sponsor with"));
	table.extend(rest);
	failed += usize::from(table.is_empty());
	Ok((table, failed))
}

#[tokio::main]
async fn main() -> Result<()> {
	let start = Instant::now();
	let (table, failed) = play().await?;
	println!();
	head();
	for (number, row) in table.iter().enumerate() {
		row.print(number + 1);
	}
	let rows: Vec<_> = table.iter().map(Row::json).collect();
	std::fs::write("attack-summary.json", serde_json::to_string_pretty(&rows)? + "\n")?;
	println!(
		"\nAmounts in LAB; everyone starts with 1,000. {:.0} s. summary attack-summary.json",
		start.elapsed().as_secs_f64()
	);
	ensure!(failed == 0, "{failed} rows did not end as the table says");
	Ok(())
}
