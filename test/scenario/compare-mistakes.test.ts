// What one of two kernels does wrong is found, with the least workload that shows it.

import { EFAULT, EINVAL } from '../../src/kernel/index.ts';
import { loadModule, MachineError } from '../../src/machine/index.ts';
import { type CompareReport, compareKernels } from '../../src/scenario/compare.ts';
import { LINUX } from '../../src/scenario/compare-kernels.ts';
import type { ComparedKernel } from '../../src/scenario/compare-side.ts';
import type { Harness, HarnessOptions, Transfer } from '../../src/scenario/kernel.ts';
import { workload } from '../../src/scenario/workload.ts';
import { assert, suite } from '../run/suite.ts';

const test = suite('scenario compare, mistakes');
const OPERATIONS = 90;

async function compare(kernels: readonly ComparedKernel[], operations = OPERATIONS): Promise<CompareReport> {
  const module = await loadModule();
  return compareKernels({ module, controller: 'virtio-blk', kernels, seed: 1, operations });
}

function unusedSector(): number {
  const pages = 61; // what Linux takes on this controller
  const shape = {
    sectorBytes: 512,
    sectors: 8192,
    maxRequestBytes: pages * 4096,
    maxPages: pages,
    longestBytes: 2 ** 18,
    buffers: 3,
  };
  const used = new Uint8Array(shape.sectors);
  const source = workload(1, shape);
  for (let i = 0; i < OPERATIONS; i++) {
    const operation = source.next().value;
    if (operation.op === 'flush') continue;
    used.fill(1, Math.max(0, operation.sector - 2), operation.sector + operation.sectors + 2);
  }
  return used.indexOf(0);
}

/** What a planted mistake may do in the place of the kernel's own transfer(). */
type Plant = (inner: Harness, transfer: Transfer, count: number, options: HarnessOptions) => Promise<number>;

/** Linux, but from its transfer number `from` on, counted from 0, with a mistake. */
function planted(plant: Plant, from: number): ComparedKernel {
  const boot = (options: HarnessOptions): Harness => {
    const inner = LINUX.boot(options);
    let count = 0;
    return {
      get maxRequestBytes() {
        return inner.maxRequestBytes;
      },
      zones: inner.zones,
      attach: () => inner.attach(),
      allocate: (bytes, placement) => inner.allocate(bytes, placement),
      store: (address, bytes) => inner.store(address, bytes),
      load: (address, into) => inner.load(address, into),
      protect: (address, bytes, allowed) => inner.protect(address, bytes, allowed),
      transfer: (transfer) =>
        count++ < from ? inner.transfer(transfer) : plant(inner, transfer, count - 1, options),
      flush: () => inner.flush(),
      shutdown: () => inner.shutdown(),
    };
  };
  return { ...LINUX, name: 'planted', boot };
}

const FROM = 21;
/** A sector that the workload neither uses nor comes near. */
const UNUSED = unusedSector();

const MISTAKES: readonly [string, Plant, RegExp][] = [
  [
    'one byte of a read that is not the disk’s',
    async (inner, transfer) => {
      const result = await inner.transfer(transfer);
      const { address, bytes } = transfer.ranges.at(-1) as Transfer['ranges'][number];
      const last = new Uint8Array(1);
      if (result !== 0 || transfer.direction === 'write') return result;
      inner.load(address + bytes - 1, last);
      inner.store(
        address + bytes - 1,
        last.map((byte) => byte ^ 1),
      );
      return result;
    },
    /a read of .*: 1 byte of buffer \d differs, first byte \d+: \d+ instead of \d+/,
  ],
  [
    'a write that is lost',
    async (inner, transfer) => (transfer.direction === 'write' ? 0 : await inner.transfer(transfer)),
    /a write of .*: \d+ bytes of the disk differ/,
  ],
  [
    'a write one sector further',
    (inner, transfer) =>
      transfer.direction === 'write' && transfer.sector > 0
        ? inner.transfer({ ...transfer, sector: transfer.sector - 1 })
        : inner.transfer(transfer),
    /a write of .*: \d+ bytes of the disk differ/,
  ],
  [
    'another error',
    async (inner, transfer) => ((await inner.transfer(transfer)) === 0 ? 0 : -12),
    /ended with errno 12 instead of errno \d+/,
  ],
  [
    'an error that nobody sees',
    async (inner, transfer) => Math.max(0, await inner.transfer(transfer)),
    /ended with success instead of errno \d+/,
  ],
  [
    'an error for nothing',
    async (inner, transfer) => (await inner.transfer(transfer)) || -5,
    /ended with errno 5 instead of success/,
  ],
  [
    'memory beside a read that changes',
    async (inner, transfer) => {
      const result = await inner.transfer(transfer);
      const [first] = transfer.ranges;
      if (transfer.direction === 'read' && first !== undefined && first.address % 4096 > 0)
        inner.store(first.address - 1, Uint8Array.of(0x5a));
      return result;
    },
    /1 byte of buffer \d differs/,
  ],
  [
    'a sector beside a write that changes',
    (inner, transfer, _count, { disk }) => {
      if (transfer.direction === 'write' && transfer.sector > 0 && transfer.sector <= disk.sectors)
        disk.write(transfer.sector * 512 - 1, Uint8Array.of(0x5a));
      return inner.transfer(transfer);
    },
    /1 byte of the disk differs/,
  ],
  [
    'a byte of the disk far away',
    async (inner, transfer, count, { disk }) => {
      const result = await inner.transfer(transfer);
      const byte = disk.read(UNUSED * 512, 1);
      if (count === FROM) disk.write(UNUSED * 512, Uint8Array.of(~(byte[0] ?? 0)));
      return result;
    },
    new RegExp(`^at the end 1 byte of the disk differs, first byte ${UNUSED * 512}: `),
  ],
  [
    'a guard that has something to say',
    (inner, transfer, _count, { machine }) => {
      machine.guard.report({ rule: 'own-cpu', message: 'planted' });
      return inner.transfer(transfer);
    },
    /the guard reported own-cpu: planted/,
  ],
  ['a kernel that throws', () => Promise.reject(new Error('planted')), /threw Error: planted/],
];

for (const [what, plant, expected] of MISTAKES) {
  test(`${what} is found, and the least workload that shows it`, async () => {
    const kernels = [LINUX, planted(plant, FROM)];
    const { difference, smallest, ok } = await compare(kernels);
    assert.match(difference?.what ?? 'nothing', expected);
    assert.equal([ok, difference?.kernel], [false, 'planted']);
    assert.ok(smallest !== null && smallest > FROM, `${smallest}`);
    assert.is((await compare(kernels, smallest - 1)).difference, null);
  });
}

/** A read that is refused for its memory leaves nothing in it. */
const refuse: Plant = async (inner, transfer) => {
  const before = transfer.ranges.map(({ address, bytes }) => {
    const held = new Uint8Array(bytes);
    return attempt(() => inner.load(address, held)) ? { address, held } : null;
  });
  const result = await inner.transfer(transfer);
  if (transfer.direction === 'write' || ![-EINVAL, -EFAULT].includes(result)) return result;
  for (const range of before) if (range !== null) attempt(() => inner.store(range.address, range.held));
  return result;
};

/** Whether the process may use the memory. */
function attempt(use: () => void): boolean {
  try {
    use();
  } catch (error) {
    if (error instanceof MachineError) return false;
    throw error;
  }
  return true;
}

test('a refused request counts as done in part only when some of it is', async () => {
  const { ok, kernels } = await compare([LINUX, planted(refuse, 0)], 400);
  assert.ok(ok);
  assert.equal(
    kernels.map(({ partial }) => partial > 0),
    [true, false],
  );
});

test('what is wrong only when the kernel is gone is found', async () => {
  const boot = (options: HarnessOptions): Harness => {
    const inner = LINUX.boot(options);
    inner.shutdown = () => Promise.resolve(['something is left']);
    return inner;
  };
  const { difference, smallest } = await compare([LINUX, { ...LINUX, name: 'planted', boot }], 20);
  assert.equal(
    [difference, smallest],
    [{ operation: null, kernel: 'planted', what: 'at the end something is left' }, 1],
  );
});
