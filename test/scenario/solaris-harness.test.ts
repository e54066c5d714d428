// Requests of a scenario as Solaris does them: what is under way together, and what a failed one leaves.

import type { AddressSpace, Sleeps } from '../../src/kernel/index.ts';
import { loadModule, Machine } from '../../src/machine/index.ts';
import type { Harness } from '../../src/scenario/kernel.ts';
import { bootSolarisHarness } from '../../src/scenario/solaris.ts';
import { EIO } from '../../src/solaris/index.ts';
import { assert, suite } from '../run/suite.ts';
import { must } from '../solaris/help.ts';

const test = suite('scenario solaris harness');

interface Rig {
  readonly machine: Machine;
  readonly harness: Harness;
  readonly disk: ReturnType<Machine['addDisk']>;
  /** Four pages of the process. */
  readonly base: number;
}

async function boot(): Promise<Rig> {
  const machine = new Machine(await loadModule(), { ram: 'default', diskBytes: 2 ** 20, guard: true });
  const controller = machine.addController({ kind: 'ahci' });
  const disk = machine.addDisk({ bytes: 65536 });
  disk.write(
    0,
    Uint8Array.from({ length: 65536 }, (_, i) => 1 + (i >> 9)),
  );
  controller.attach(disk, 0);
  const harness = bootSolarisHarness({ machine, controller, disk, seed: 1, bounce: true });
  await harness.attach();
  const base = harness.allocate(0x4000, {}).address;
  harness.store(base, new Uint8Array(0x4000));
  return { machine, harness, disk, base };
}

/** Reads sectors from 0 on into ranges of 1024 bytes at these offsets: `s` where a buf starts, `d` where it is done. */
async function read({ machine, harness, base }: Rig, ...offsets: readonly number[]): Promise<string> {
  let order = '';
  const stop = machine.tracer.listen((event) => {
    if (event.name === 'buf_start') order += 's';
    if (event.name === 'buf_done') order += 'd';
  });
  const ranges = offsets.map((at) => ({ address: base + at, bytes: 1024 }));
  assert.is(await harness.transfer({ direction: 'read', sector: 0, sectors: 2 * offsets.length, ranges }), 0);
  stop();
  return order;
}

function load({ harness, base }: Rig, at: number): number {
  const byte = new Uint8Array(1);
  harness.load(base + at, byte);
  return byte[0] as number;
}

test('bufs are under way together, but not when two read into the same bytes, wherever they are listed', async () => {
  const rig = await boot();
  assert.is(await read(rig, 0x2000, 0, 0x1000), 'sssddd');
  assert.is(await read(rig, 0x1000, 0xc00), 'ssdd'); // side by side
  assert.is(await read(rig, 0x200, 0x2000, 0), 'sdsdsd');
  assert.equal([load(rig, 0), load(rig, 0x200), load(rig, 0x400)], [5, 6, 2]); // the last one wins
  assert.is(await read(rig, 0, 0x2000, 0x200), 'sdsdsd');
  assert.equal([load(rig, 0), load(rig, 0x200), load(rig, 0x400)], [1, 5, 6]);
  assert.equal(await rig.harness.shutdown(), []);
});

test('a failed read of ranges that are no whole sectors says so and leaves the memory', async () => {
  const rig = await boot();
  const { machine, harness, disk, base } = rig;
  machine.addFault({ disk, kind: 'error', operations: ['read'], first: 1, last: 1 });
  const ranges = [
    { address: base, bytes: 100 },
    { address: base + 0x1000, bytes: 924 },
  ];
  assert.is(await harness.transfer({ direction: 'read', sector: 0, sectors: 2, ranges }), -EIO);
  assert.equal([load(rig, 0), load(rig, 0x1000)], [0, 0]);
  assert.is(await harness.transfer({ direction: 'read', sector: 2, sectors: 2, ranges }), 0);
  assert.equal([load(rig, 0), load(rig, 99), load(rig, 100), load(rig, 0x1000)], [3, 3, 0, 3]);
  assert.equal(await harness.shutdown(), []);
});

test('a page that something still refers to is told at the end', async () => {
  const rig = await boot();
  // Inside, a harness runs its requests as the process: so does whoever forgets a page of it here.
  const { run } = rig.harness as unknown as {
    run(address: number, body: (as: AddressSpace) => Sleeps<void>): void;
  };
  run.call(rig.harness, rig.base, function* (as) {
    as.vm.allocator.get(must(as.pageTable.page(rig.base)));
  });
  assert.equal(await rig.harness.shutdown(), ['1 pages of the process are still locked']);
});
