// Random scatter lists, faults and holes: whatever a controller meets, it does the same on RAM of its own, on an array
// and by call-backs.

import type { ControllerKind } from '../../src/controllers/index.ts';
import { Random } from '../../src/kernel/random.ts';
import type { Fault, Machine } from '../../src/machine/index.ts';
import { asyncMedium, type Medium, ramMedium } from '../../src/media/index.ts';
import { fill, TestCommand } from '../drivers/host.ts';
import { pattern } from '../media/help.ts';
import { assert, suite } from '../run/suite.ts';
import { DATA, embedded, embeddedSide, HIGH_DATA, KINDS, machineSide, type Side, TestRam } from './rig.ts';

const test = suite('embed: random');
const DISK_BYTES = 2 ** 19;
const COMMANDS = 32;
const AREA = 0x60000;
/** Where the regions of the rig have no RAM: between them. */
const HOLE = 0x1800000;
const CONTENT = pattern(DISK_BYTES, 11);

interface Segment {
  readonly address: number;
  readonly bytes: number;
}

/** One command: what, where on the disk, through which memory. */
interface Step {
  readonly op: 'read' | 'write';
  readonly lba: number;
  readonly segments: readonly Segment[];
}

/** Sectors in pieces of any length and alignment that the controller takes, now and then one where no RAM is. */
function randomSteps(random: Random, limits: Side['driver']['limits'], holes: boolean): Step[] {
  const unit = limits.alignmentMask + 1;
  const high = limits.addressBits > 32;
  return Array.from({ length: COMMANDS }, () => {
    const sectors = 1 + random.below(24);
    const segments: Segment[] = [];
    for (let left = sectors * 512; left > 0; ) {
      const last = segments.length === Math.min(15, limits.maxSegments - 1);
      const most = random.chance(0.5) ? 64 : 6000;
      const bytes = last ? left : Math.min(left, unit * (1 + random.below(Math.ceil(most / unit))));
      const base = holes && random.chance(0.05) ? HOLE : high && random.chance(0.5) ? HIGH_DATA : DATA;
      const address = base + unit * random.below(AREA / unit);
      // Nothing here crosses 64 KiB, where the IDE controller's segments end.
      const room = 0x10000 - (address % 0x10000);
      segments.push({ address, bytes: last ? left : Math.min(bytes, room) });
      left -= segments.at(-1)?.bytes ?? left;
    }
    return { op: random.chance(0.5) ? 'read' : 'write', lba: random.below(DISK_BYTES / 512 - 24), segments };
  });
}

interface Results {
  readonly ends: readonly string[];
  readonly memories: readonly Uint8Array[];
}

/** Runs the steps; what each came to, then all the memory that they could reach. */
function results({ driver, memory, now, run }: Side, seed: number, holes: boolean): Results {
  const random = new Random(seed);
  const high = driver.limits.addressBits > 32;
  memory.writeBytes(DATA, fill(random, AREA + 8192));
  if (high) memory.writeBytes(HIGH_DATA, fill(random, AREA + 8192));
  const ends = randomSteps(random, driver.limits, holes).map(({ op, lba, segments }) => {
    const bytes = segments.reduce((sum, segment) => sum + segment.bytes, 0);
    const command = new TestCommand({ op, lba, sectors: bytes / 512, direction: op }).setSegments(segments);
    run(command);
    return `${op} ${lba}: ${command.status}, ${command.residual} left, ${now()} ns`;
  });
  const memories = [DATA, ...(high ? [HIGH_DATA] : [])].map((at) => memory.readBytes(at, AREA));
  return { ends, memories };
}

function faults(random: Random): Omit<Fault, 'disk'>[] {
  return [
    { kind: 'error', operations: ['read'], first: 100, last: 180 },
    { kind: 'error', operations: ['write'], skip: random.below(4), times: 3 },
    { kind: 'torn', skip: random.below(9), times: 2, argument: 700 },
  ];
}

function medium(): Medium {
  const ram = ramMedium(DISK_BYTES);
  ram.writev(0, [CONTENT]);
  return ram;
}

/** Seeds of one test. The others stop at a bus error until they are reset. */
const GOES_ON: readonly ControllerKind[] = ['aha1542', 'nvme', 'virtio-blk'];
const ROUNDS = [
  { seed: 1, holes: false, faulty: false },
  { seed: 2, holes: false, faulty: true },
  { seed: 3, holes: true, faulty: true },
];
/** The embedder's RAM, and where the disk's bytes are. */
const WAYS = [
  ['array', () => CONTENT],
  ['array', medium],
  ['callbacks', medium],
] as const;

async function compare(kind: ControllerKind, round: (typeof ROUNDS)[number]): Promise<void> {
  const { seed, faulty, holes } = round;
  const own = await machineSide(kind, CONTENT, (disk, machine: Machine) => {
    if (faulty) for (const fault of faults(new Random(seed))) machine.addFault({ ...fault, disk });
  });
  const expected = results(own, seed, holes);
  const good = expected.ends.filter((end) => end.includes(': ok, 0 left'));
  assert.ok(good.length > 0);
  assert.is(good.length < expected.ends.length, faulty);
  for (const [way, media] of WAYS) {
    const ram = new TestRam();
    const board = await embedded({ kind, media: media(), dma: ram[way]() });
    const [disk] = board.disks;
    assert.ok(disk);
    if (faulty) for (const fault of faults(new Random(seed))) board.addFault({ ...fault, disk });
    const { ends, memories } = results(embeddedSide(board, ram.memory), seed, holes);
    assert.equal(ends, expected.ends);
    for (const [i, bytes] of memories.entries()) sameBytes(bytes, expected.memories[i]);
    sameBytes(disk.read(0, DISK_BYTES), own.disk.read(0, DISK_BYTES));
  }
}

/** As assert.equal(), which takes seconds for a megabyte. */
function sameBytes(actual: Uint8Array, expected: Uint8Array | undefined): void {
  assert.is(actual.length, expected?.length);
  const at = actual.findIndex((byte, i) => byte !== expected?.[i]);
  assert.is(at, -1, `byte ${at} is ${actual[at]} instead of ${expected?.[at]}`);
}

for (const kind of KINDS) {
  for (const round of ROUNDS) {
    const { seed, holes, faulty } = round;
    if (holes && !GOES_ON.includes(kind)) continue;
    const what = holes ? 'lists with holes' : faulty ? 'lists and faults' : 'lists';
    test(`EMB-0${3 + seed} ${kind}: random ${what} come to the same everywhere`, () => compare(kind, round));
  }
}

test('EMB-07 an asynchronous medium fills and empties an embedder’s RAM', async () => {
  for (const way of ['array', 'callbacks'] as const) {
    const inner = ramMedium(DISK_BYTES);
    inner.writev(0, [CONTENT]);
    const ram = new TestRam();
    const board = await embedded({ kind: 'ahci', media: asyncMedium(inner), dma: ram[way]() });
    const { driver, memory } = embeddedSide(board, ram.memory);
    memory.writeBytes(DATA, pattern(8192, 1));
    const commands = [
      new TestCommand({ op: 'read', lba: 3, sectors: 4, direction: 'read' }).setSegments([
        { address: HIGH_DATA, bytes: 1022 },
        { address: DATA + 0x10002, bytes: 1026 },
      ]),
      new TestCommand({ op: 'write', lba: 40, sectors: 16, direction: 'write' }).setSegments([
        { address: DATA, bytes: 8192 },
      ]),
    ];
    for (const command of commands) assert.ok(driver.submit(command));
    driver.kick();
    for (let i = 0; i < 100 && commands.some(({ ended }) => ended === 0); i++) {
      if (board.advance(10_000) !== 0) driver.interrupt();
      if (board.pendingMedia > 0) await board.waitMedia();
    }
    assert.equal(
      commands.map(({ status }) => status),
      ['ok', 'ok'],
    );
    assert.equal(memory.readBytes(HIGH_DATA, 1022), CONTENT.slice(1536, 1536 + 1022));
    assert.equal(memory.readBytes(DATA + 0x10002, 1026), CONTENT.slice(1536 + 1022, 1536 + 2048));
    const back = new Uint8Array(8192);
    inner.readv(40 * 512, [back]);
    assert.equal(back, pattern(8192, 1));
    await board.close();
  }
});
