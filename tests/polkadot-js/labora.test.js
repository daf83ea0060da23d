// What a dApp developer does with the chain, through the real @polkadot/api and a real node.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { ApiPromise, Keyring, WsProvider } from '@polkadot/api';

const UNIT = 10n ** 12n;
let api;
let alice;

before(async () => {
  api = await ApiPromise.create({ provider: new WsProvider(process.env.LABORA_URL), noInitWarn: true });
  alice = new Keyring({ type: 'sr25519' }).addFromUri('//Alice');
}, { timeout: 60_000 });

after(() => api?.disconnect());

// Signs, sends, waits until a block has it, and gives that block's hash and the extrinsic's events; a dispatch error by its name.
function send(extrinsic) {
  return new Promise((resolve, reject) => {
    extrinsic.signAndSend(alice, ({ status, events, dispatchError }) => {
      if (!status.isInBlock) return;
      if (dispatchError?.isModule) {
        const { section, name } = api.registry.findMetaError(dispatchError.asModule);
        return reject(new Error(`${section}.${name}`));
      }
      if (dispatchError) return reject(new Error(dispatchError.toString()));
      resolve({ block: status.asInBlock, events: events.map(({ event }) => event) });
    }).catch(reject);
  });
}

// A task of one layer, small but valid.
function spec(change = {}) {
  const commitment = `0x${'11'.repeat(32)}`;
  return {
    graph: {
      batch: 32,
      features: 256,
      parameters: [{ rows: 256, cols: 10 }],
      ops: [
        { Quantize: { parameter: 0, shift: 16 } },
        {
          MatMul: {
            a: 'Features', b: { Op: 0 }, transposeA: false, transposeB: false, shift: 9, rounding: 'Nearest', activation: 'Identity',
          },
        },
        { SoftmaxGradient: { logits: { Op: 1 } } },
        { SgdUpdate: { parameter: 0, a: 'Features', b: { Op: 2 }, transposeA: true, transposeB: false, rate: 2 } },
      ],
    },
    job: { Training: { rounds: 2, units: 2, steps: 2, rateDrops: [1] } },
    dataset: { features: commitment, labels: commitment, rows: 128, examples: 128 },
    parameters: [commitment],
    recipe: null,
    seed: commitment,
    price: UNIT,
    deadline: 100,
    ...change,
  };
}

test('metadata and constants', () => {
  for (const pallet of ['tasks', 'workers', 'work']) assert.ok(api.tx[pallet], pallet);
  assert.equal(api.consts.work.blockReward.toBigInt(), 10n * UNIT);
  assert.ok(api.consts.tasks.resultWindow.toNumber() > 0);
  assert.equal(api.registry.chainTokens[0], 'LAB');
  assert.ok(api.errors.tasks.EscrowTooSmall);
});

test('a block carries its work proof', { timeout: 60_000 }, async () => {
  const header = await new Promise((resolve, reject) => {
    api.rpc.chain.subscribeNewHeads((head) => head.number.toNumber() > 0 && resolve(head)).catch(reject);
  });
  const { block } = await api.rpc.chain.getBlock(header.hash);
  const proof = block.extrinsics.find(({ method }) => method.section === 'work' && method.method === 'prove');
  assert.ok(proof, 'the inherent is there');
  const work = proof.method.args[0];
  assert.ok(work.isIdle || work.isUseful);
  if (work.isIdle) assert.ok(work.asIdle.tile.row.toNumber() < 32);
  else assert.ok(work.asUseful.stripA.data.length > 0);

  const at = await api.at(header.hash);
  const events = await at.query.system.events();
  const sealed = events.find(({ event }) => event.section === 'work' && event.method === 'BlockSealed');
  assert.ok(sealed, 'and its event');
  assert.ok(sealed.event.data.difficulty.toBigInt() > 0n);
  assert.ok(header.digest.logs.some((log) => log.isPreRuntime && log.asPreRuntime[0].toString() === 'pow_'));
});

test('a task is registered, listed and cancelled', { timeout: 120_000 }, async () => {
  const { events } = await send(api.tx.tasks.register(spec(), 100n * UNIT));
  const registered = events.find(({ section, method }) => section === 'tasks' && method === 'TaskRegistered');
  assert.ok(registered);
  const { task, sponsor, escrow } = registered.data;
  assert.equal(sponsor.toString(), alice.address);
  assert.equal(escrow.toBigInt(), 100n * UNIT);

  const listed = await api.query.tasks.specs.entries();
  const stored = listed.find(([key]) => key.args[0].eq(task))[1].unwrap();
  assert.equal(stored.graph.ops.length, 4);
  assert.ok(stored.graph.ops[1].isMatMul);
  assert.ok(stored.job.isTraining);

  const cancelled = await send(api.tx.tasks.cancel(task));
  assert.ok(cancelled.events.some(({ section, method }) => section === 'tasks' && method === 'TaskCancelled'));
  const info = (await api.query.tasks.tasks(task)).unwrap();
  assert.ok(info.phase.isCancelled);
});

test('a bad task is refused by name', { timeout: 60_000 }, async () => {
  await assert.rejects(send(api.tx.tasks.register(spec(), UNIT)), /tasks\.EscrowTooSmall/);
  await assert.rejects(send(api.tx.tasks.register(spec({ deadline: 1 }), 100n * UNIT)), /tasks\.BadDeadline/);
  const cyclic = spec();
  cyclic.graph.ops[2] = { SoftmaxGradient: { logits: { Op: 3 } } };
  await assert.rejects(send(api.tx.tasks.register(cyclic, 100n * UNIT)), /tasks\.GraphHasCycle/);
});
