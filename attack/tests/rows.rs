//! Every row of the table is a test.

use std::sync::Arc;

use anyhow::Result;
use labora_attack::{live, real::Genesis, row::Row, rows};
use tokio::sync::OnceCell;

/// Read once for all tests.
async fn genesis() -> Result<Arc<Genesis>> {
	static GENESIS: OnceCell<Arc<Genesis>> = OnceCell::const_new();
	GENESIS.get_or_try_init(|| async { Ok(Arc::new(Genesis::read().await?)) }).await.cloned()
}

fn holds(row: Result<Row>) -> Result<()> {
	row.map(|row| assert!(row.attacker < row.honest || row.but.is_some(), "{row:?}"))
}

macro_rules! rows {
	($($row:ident)*) => {$(
		#[tokio::test(flavor = "multi_thread")]
		async fn $row() -> Result<()> {
			let genesis = genesis().await?;
			holds(rows::$row(&genesis).await)
		}
	)*};
}

rows! {
	random_operands
	random_activations
	copies
	equivocation
	stale_parent
	seal_and_abandon
	re_mining
	degenerate_parameters
	own_machines
	timestamps
	private_majority
	confederate
	full_blocks
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_a_live_node() -> Result<()> {
	let genesis = genesis().await?;
	let rows = live::rows(&genesis).await?;
	assert_eq!(rows.len(), 5);
	rows.into_iter().try_for_each(|row| holds(Ok(row)))
}
