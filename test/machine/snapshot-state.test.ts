// What a snapshot holds, and where it goes: every byte of the arena, the host's half, bytes and back, other machines.

import { Random } from '../../src/kernel/random.ts';
import {
  createMachine,
  type Machine,
  type MachineOptions,
  Snapshot,
  SnapshotError,
} from '../../src/machine/index.ts';
import { overlay, ramMedium } from '../../src/media/index.ts';
import { fill } from '../drivers/host.ts';
import { altered } from '../media/help.ts';
import { code, filesBelow } from '../run/sources.ts';
import { assert, suite } from '../run/suite.ts';
import { arenaOf } from './snapshot-rig.ts';

const test = suite('snapshot: state');

const MIB = 2 ** 20;
const PAGE = 4096;
const HIGH = 2 ** 32;

async function bigMachine(): Promise<Machine> {
  const machine = await createMachine({
    flavour: 'debug',
    ram: [
      { base: 0, bytes: 8 * MIB },
      { base: HIGH, bytes: 8 * MIB },
    ],
    diskBytes: 2 * MIB,
  });
  const controller = machine.addController({ kind: 'ahci' });
  controller.attach(machine.addDisk({ bytes: MIB }), 0);
  return machine;
}

const WORDS = new Uint32Array(2000);

/** Something that the CPU or the guard's user does, anywhere. */
function anything(machine: Machine, random: Random): void {
  const { memory, guard } = machine;
  const [controller] = machine.controllers;
  const length = 1 + random.below(3 * PAGE);
  const at = (random.chance(0.5) ? 0 : HIGH) + random.below(8 * MIB - 4 * PAGE);
  const atEdge = at - (at % PAGE) + PAGE - 1 - random.below(16);
  const acts: (() => unknown)[] = [
    () => memory.write8(at, random.next()),
    () => memory.write16(atEdge, random.next()),
    () => memory.write32(atEdge, random.next()),
    () => memory.write4x32(atEdge - (atEdge % 4), 1, 2, 3, random.next()),
    () => memory.writeWords(atEdge - (random.chance(0.5) ? atEdge % 4 : 0), WORDS.fill(random.next())),
    () => memory.fill(at, random.below(256), length),
    () => memory.copy(at, random.below(7 * MIB), length),
    () => memory.writeBytes(at, fill(random, length)),
    () => memory.forget(at, length),
    () => machine.disks[0]?.write(random.below(MIB - 4 * PAGE), fill(random, length)),
    () => controller && guard.map(controller, at, 1 + random.below(40 * PAGE), 'both'),
    () => controller && guard.map(controller, at, length, 'read'),
    () => {
      for (const { handle } of [...guard.live].slice(random.below(9), 20)) guard.unmap(handle);
    },
    () => controller?.write32(5, 4 * random.below(64), random.next()),
    () => machine.advance(machine.now() + random.below(10000)),
  ];
  acts[random.below(acts.length)]?.();
}

test('SNAP-04 a restore puts back every byte, whatever was written by whom', async () => {
  const machine = await bigMachine();
  const random = new Random(4);
  const taken: { snapshot: Snapshot; arena: Buffer; live: string }[] = [];
  for (let round = 0; round < 40; round++) {
    for (let i = random.below(30); i >= 0; i--) anything(machine, random);
    const known = taken.length > 0 && random.chance(0.6) ? taken[random.below(taken.length)] : undefined;
    if (known === undefined) {
      const arena = arenaOf(machine);
      const snapshot = machine.save();
      assert.is(Buffer.compare(arena, arenaOf(machine)), 0, 'a save changes nothing');
      taken.push({ snapshot, arena, live: JSON.stringify([...machine.guard.live]) });
      if (taken.length > 4) taken.shift();
    } else {
      machine.restore(known.snapshot);
      assert.is(Buffer.compare(known.arena, arenaOf(machine)), 0, `round ${round}`);
      assert.is(JSON.stringify([...machine.guard.live]), known.live);
    }
  }
});

test('SNAP-05 what did not change is shared between snapshots', async () => {
  const machine = await bigMachine();
  machine.memory.fill(0, 1, 8 * MIB);
  const first = machine.save().parts.arena.pages;
  machine.memory.write8(5 * PAGE, 2);
  machine.memory.write16(9 * PAGE - 1, 3);
  machine.disks[0]?.write(PAGE, new Uint8Array(PAGE));
  const second = machine.save().parts.arena.pages;
  const changed = second.filter((page, i) => page !== first[i]).length;
  // Three pages of RAM, one of the disk; the table of written bytes had them all.
  assert.ok(changed >= 4 && changed <= 5, `${changed} pages`);
});

test('SNAP-06 bytes that were damaged are refused before anything changes', async () => {
  const machine = await bigMachine();
  machine.memory.fill(PAGE, 7, PAGE);
  const bytes = machine.save().toBytes();
  const random = new Random(6);
  const refused = (damaged: Uint8Array): void => {
    assert.throws(
      () => Snapshot.fromBytes(damaged),
      (error: unknown) => error instanceof SnapshotError,
    );
  };
  for (let i = 0; i < 60; i++) {
    const damaged = bytes.slice();
    const at = i < 30 ? random.below(200) : random.below(bytes.length);
    damaged[at] = (damaged[at] ?? 0) ^ (1 << random.below(8));
    refused(damaged);
  }
  for (const length of [0, 3, 19, 20, bytes.length - 4, bytes.length - 1]) refused(bytes.subarray(0, length));
  refused(Uint8Array.from([...bytes.subarray(0, 400), 0, 0, 0, 0]));
  const longer = new Uint8Array(bytes.length + 4);
  longer.set(bytes);
  refused(longer);
});

test('SNAP-07 bytes and back are the same snapshot', async () => {
  const machine = await bigMachine();
  const random = new Random(7);
  for (let i = 0; i < 300; i++) anything(machine, random);
  const snapshot = machine.save();
  const bytes = snapshot.toBytes();
  const again = Snapshot.fromBytes(bytes);
  bytes.fill(0);
  const arena = arenaOf(machine);
  for (let i = 0; i < 300; i++) anything(machine, random);
  machine.restore(again);
  assert.is(Buffer.compare(arena, arenaOf(machine)), 0);
  assert.equal(again.toBytes(), snapshot.toBytes());
});

test('SNAP-07 bytes may lie in the middle of a longer buffer', async () => {
  const machine = await createMachine({ ram: 'small', guard: false });
  const bytes = machine.save().toBytes();
  const longer = Buffer.alloc(bytes.length + 7);
  longer.set(bytes, 3);
  const read = Snapshot.fromBytes(longer.subarray(3, 3 + bytes.length));
  assert.is(Buffer.compare(read.toBytes(), bytes), 0);
});

test('SNAP-08 a snapshot of another build says what differs', async () => {
  const machine = await bigMachine();
  const { parts } = machine.save();
  const arena = arenaOf(machine);
  const other = (changes: Record<string, number>): Snapshot =>
    new Snapshot({ ...parts, layout: { ...parts.layout, ...changes } });
  assert.throws(
    () => machine.restore(other({ LAYOUT_VERSION: 99 })),
    /LAYOUT_VERSION is 99 there and \d+ here/,
  );
  assert.throws(() => machine.restore(other({ AT_EVENTS: 8 })), /AT_EVENTS is 8 there and \d+ here/);
  assert.throws(() => machine.restore(other({ 'bytes of an ahci': 8 })), /bytes of an ahci is 8 there/);
  assert.throws(
    () => machine.restore(other({ 'bytes of a toaster': 8 })),
    /toaster is 8 there and unknown here/,
  );
  assert.is(Buffer.compare(arena, arenaOf(machine)), 0);
});

interface Other {
  readonly options?: MachineOptions;
  readonly kind?: string;
  readonly line?: number;
  readonly slot?: number;
  readonly disk?: Parameters<Machine['addDisk']>[0];
  readonly more?: (machine: Machine) => unknown;
  readonly says: RegExp;
}

const OTHERS: Readonly<Record<string, Other>> = {
  'more RAM': {
    options: { ram: [{ base: 0, bytes: 2 * MIB }] },
    says: /there RAM of 1048576 bytes at 0x0; here RAM of 2097152/,
  },
  'RAM elsewhere': {
    options: { ram: [{ base: MIB, bytes: MIB }] },
    says: /here RAM of 1048576 bytes at 0x100000/,
  },
  'no guard': {
    options: { guard: false },
    says: /there a guard of \d+ mappings with checks \d+; here no guard/,
  },
  'another guard': { options: { guard: { capacity: 5 } }, says: /here a guard of 5 mappings/ },
  'another controller': { kind: 'nvme', says: /there ahci\.0, .*; here nvme\.0/ },
  'another profile': { kind: 'ahci-32bit', says: /here ahci\.0, a ahci-32bit/ },
  'another line': { line: 5, says: /with line 5 in slot 4/ },
  'another slot': { slot: 9, says: /in slot 9/ },
  'a larger disk': {
    disk: { bytes: 65536 * 2 },
    says: /disk 1, 65536 bytes in RAM .*; here disk 1, 131072 bytes/,
  },
  'other sectors': { disk: { bytes: 65536, sectorBytes: 4096 }, says: /here disk 1, .* in sectors of 4096/ },
  'a disk on a medium': { disk: { medium: ramMedium(65536) }, says: /here disk 1, 65536 bytes on a medium/ },
  'a disk more': {
    more: (machine) => machine.addDisk({ bytes: 512 }),
    says: /there a module's memory .*; here disk 2/,
  },
  'more room': { options: { diskBytes: 8 * MIB }, says: /there a module's memory of \d+ bytes; here/ },
};

async function made({
  options,
  kind = 'ahci',
  line,
  slot,
  disk = { bytes: 65536 },
  more,
}: Partial<Other>): Promise<Machine> {
  const machine = await createMachine({
    flavour: 'debug',
    ram: [{ base: 0, bytes: MIB }],
    diskBytes: MIB,
    ...options,
  });
  machine
    .addController({ kind, ...(line === undefined ? {} : { line }), ...(slot === undefined ? {} : { slot }) })
    .attach(machine.addDisk(disk), 0);
  more?.(machine);
  return machine;
}

for (const [name, other] of Object.entries(OTHERS)) {
  test(`SNAP-09 a machine with ${name} refuses the snapshot, and says why`, async () => {
    const snapshot = (await made({})).save();
    const machine = await made(other);
    const arena = arenaOf(machine);
    assert.throws(() => machine.restore(snapshot), other.says);
    assert.throws(() => machine.restore(Snapshot.fromBytes(snapshot.toBytes())), other.says);
    assert.is(Buffer.compare(arena, arenaOf(machine)), 0);
  });
}

test('SNAP-10 what a machine was given after the snapshot is not taken away in silence', async () => {
  const machine = await made({});
  const snapshot = machine.save();
  machine.addDisk({ bytes: 4096 });
  assert.throws(() => machine.restore(snapshot), /there a module's memory .*; here disk 2/);
});

test('SNAP-11 a medium of another size or kind refuses its content before anything changes', async () => {
  const snapshot = (await made({ disk: { medium: overlay(ramMedium(65536)) } })).save();
  const bare = altered(ramMedium(65536), {});
  for (const [medium, says] of [
    [
      overlay(ramMedium(65536), { chunkBytes: 4096 }),
      /disk 1: the saved content is of 65536 bytes in chunks of 16384/,
    ],
    [bare, /the content of disk 1; its medium here keeps none/],
  ] as const) {
    const machine = await made({ disk: { medium } });
    const arena = arenaOf(machine);
    assert.throws(() => machine.restore(snapshot), says);
    assert.is(Buffer.compare(arena, arenaOf(machine)), 0);
  }
});

test('SNAP-12 from within a medium there is no snapshot', async () => {
  const errors: unknown[] = [];
  const attempt = (act: () => unknown): void => {
    try {
      act();
    } catch (error) {
      errors.push(error);
    }
  };
  const inner = ramMedium(65536);
  let known: Snapshot | null = null;
  const medium = altered(inner, {
    flush: () => {
      attempt(() => machine.save());
      attempt(() => known && machine.restore(known));
    },
  });
  const machine = await createMachine({ flavour: 'debug', ram: 'small' });
  const controller = machine.addController({ kind: 'piix-ide' });
  controller.attach(machine.addDisk({ medium }), 0);
  known = machine.save();
  controller.write8(0, 7, 0xe7); // FLUSH CACHE
  machine.settle();
  assert.is(errors.length, 2);
  assert.ok(errors.every((error) => error instanceof SnapshotError));
  machine.restore(machine.save());
});

/**
 * Private fields of the machine's classes that change after construction, and why a snapshot need not know them or
 * how it does. A new one has to be entered here, and thought about.
 */
const CHANGING: Readonly<Record<string, string>> = {
  'arena.ts #base': 'what the memory is equal to',
  'arena.ts #places': 'derived from the arena',
  'bus.ts #configAddress': 'saved',
  'bus.ts #fixed': 'made of the machine: its shape',
  'bus.ts #slots': 'made of the machine: its shape',
  'controller.ts #disks': 'saved: places',
  'disk.ts #medium': 'what the host laid into a drive: its shape',
  'external.ts #copy': 'of one call into the module',
  'external.ts #owed': 'of one call into the module',
  'host-media.ts #answered': 'of the promise that waits now',
  'host-media.ts #asked': 'an order; saved requests are in it',
  'host-media.ts #era': 'counts restores',
  'host-media.ts #failures': 'saved',
  'host-media.ts #given': 'saved: requests',
  'host-media.ts #held': 'made of the machine: its shape',
  'host-media.ts #lanes': 'made of the machine; what they do is begun again',
  'host-media.ts #moving': 'false whenever a snapshot may be taken',
  'host-media.ts #open': 'saved: requests',
  'host-media.ts #waiting': 'of the promise that waits now',
  'host-media.ts #works': 'promises on their way',
  'machine.ts #controllers': 'made of the machine: its shape',
  'machine.ts #disks': 'made of the machine: its shape',
  'machine.ts #ioBase': 'where the next controller goes: its shape',
  'machine.ts #last': 'what the memory is equal to',
  'machine.ts #layout': 'of the build',
  'machine.ts #memoryBase': 'where the next controller goes: its shape',
  'machine.ts #shape': 'made of the machine',
  'media-lane.ts #era': 'counts restores',
  'media-lane.ts #fetches': 'saved: content of requests',
  'media-lane.ts #last': 'promises on their way',
  'phys-mem.ts #base': 'the region of the last hit',
  'phys-mem.ts #end': 'the region of the last hit',
  'phys-mem.ts #hooked': 'whether somebody hooks in',
  'phys-mem.ts #index': 'the region of the last hit',
  'phys-mem.ts #offset': 'the region of the last hit',
  'phys-mem.ts #touches': 'a kernel’s hook',
  'phys-mem.ts #watched': 'a kernel’s: what it has mapped',
  'phys-mem.ts #watch': 'made of the machine',
};

test('SNAP-19 configuration addresses and the places of disks are put back', async () => {
  const machine = await made({});
  const [controller] = machine.controllers;
  const [disk] = machine.disks;
  machine.bus.writePort(0xcf8, 4, 0x80002004);
  const snapshot = machine.save();
  machine.bus.writePort(0xcf8, 4, 0x80000000);
  controller?.detachDisk(0);
  machine.restore(snapshot);
  assert.is(machine.bus.readPort(0xcf8, 4), 0x80002004);
  assert.is(controller?.diskAt(0), disk);
});

test('SNAP-13 nothing of the machine changes that a snapshot does not know of', () => {
  const found: string[] = [];
  for (const path of filesBelow(['src/machine'], '.ts')) {
    const file = path.slice('src/machine/'.length);
    for (const [, fixed, name, rest] of code(path).matchAll(/^ {2}(readonly )?(#\w+)([:= ].*)$/gm)) {
      const isCollection = /new (?:Map|Set)|\[\] = \[\]/.test(rest ?? '');
      if (fixed === undefined || isCollection) found.push(`${file} ${name}`);
    }
  }
  assert.equal(found.sort(), Object.keys(CHANGING).sort());
});
