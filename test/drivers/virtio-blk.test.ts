// The driver of virtio block devices on every profile and both kinds of ring.

import * as codes from '../../assembly/scsi/regs.ts';
import { findProfile, type Profile } from '../../src/controllers/index.ts';
import type { Driver } from '../../src/drivers/driver.ts';
import { parseSense } from '../../src/drivers/scsi.ts';
import { attachVirtioBlk, type VirtioBlkOptions } from '../../src/drivers/virtio-blk.ts';
import { Random } from '../../src/kernel/random.ts';
import {
  type Controller,
  createMachine,
  type Disk,
  type DiskOptions,
  type Machine,
} from '../../src/machine/index.ts';
import { assert, suite } from '../run/suite.ts';
import { fill, makeRunner, type Runner, TestCommand, TestHost } from './host.ts';

const test = suite('driver virtio-blk');
const MIB = 2 ** 20;
const DATA = 0x100000;
const DATA_BYTES = 4 * MIB;
const HIGH = 2 ** 32 + MIB;

interface Rig extends Runner {
  machine: Machine;
  controller: Controller;
  host: TestHost;
  driver: Driver;
  disk: Disk;
}

interface RigOptions {
  profile?: string;
  parameters?: Profile['parameters'];
  disk?: DiskOptions;
  driver?: VirtioBlkOptions;
}

async function attach(options: RigOptions = {}): Promise<Rig> {
  const machine = await createMachine({
    flavour: 'debug',
    ram: [
      { base: 0, bytes: 16 * MIB },
      { base: 2 ** 32, bytes: 8 * MIB },
    ],
    diskBytes: 6 * MIB,
    guard: { mappings: true },
  });
  const base = findProfile(options.profile ?? 'virtio-blk')?.profile as Profile;
  const profile = { ...base, parameters: { ...base.parameters, ...options.parameters } };
  const controller = machine.addController({ kind: 'virtio-blk', profile });
  const disk = machine.addDisk({ bytes: 4 * MIB, ...options.disk });
  controller.attach(disk, 0);
  const host = new TestHost(machine, controller, 8 * MIB);
  const driver = attachVirtioBlk(host, options.driver);
  machine.guard.map(controller, DATA, DATA_BYTES, 'both');
  machine.guard.map(controller, HIGH, DATA_BYTES, 'both');
  const runner = makeRunner(machine, controller, driver, options.driver?.vector !== undefined);
  return { machine, controller, host, driver, disk, ...runner };
}

function scatter(random: Random, bytes: number, limits: Driver['limits']) {
  const most = Math.min(limits.maxSegments, 16);
  const count = limits.maxSegmentBytes < bytes ? 16 : 1 + random.below(most);
  const segments = [];
  for (let i = 0, left = bytes; left > 0; i++) {
    const fair = Math.min(left, limits.maxSegmentBytes);
    const n = i >= count - 1 ? fair : Math.min(fair, 1 + random.below(4000));
    const base = random.below(2) === 0 ? DATA : HIGH;
    segments.push({ address: base + 0x30000 * i + random.below(64), bytes: n });
    left -= n;
  }
  return segments;
}

function transfer(op: 'read' | 'write', lba: number, sectors: number, address = DATA) {
  const segments = [{ address, bytes: sectors * 512 }];
  return new TestCommand({ op, lba, sectors, direction: op }).setSegments(segments);
}

function scsi(cdb: readonly number[], bytes = 0, direction: 'read' | 'write' | 'none' = 'read'): TestCommand {
  const command = new TestCommand({ op: 'scsi', cdbLength: cdb.length, direction });
  command.cdb.set(cdb);
  return bytes === 0 ? command : command.setSegments([{ address: DATA, bytes }]);
}

const KINDS: readonly [string, RigOptions][] = [
  ['transitional', {}],
  ['modern, packed, messages', { profile: 'virtio-blk-modern', driver: { vector: 0x40 } }],
  ['modern, split', { profile: 'virtio-blk-modern', driver: { packed: false } }],
  ['seg_max 1', { profile: 'virtio-blk-segmax1' }],
  ['size_max 4096', { profile: 'virtio-blk-sizemax4096' }],
  ['split, nothing but the ring', { parameters: { indirect: false, eventIndex: false } }],
  ['packed, nothing but the ring', { parameters: { packed: true, indirect: false, eventIndex: false } }],
  ['4096 bytes a sector', { disk: { sectorBytes: 4096 } }],
  ['one bell for all queues', { profile: 'virtio-blk-modern', parameters: { multiplier: 0 } }],
  ['one message for all queues', { parameters: { vectors: 1, queues: 3 }, driver: { vector: 0x50 } }],
];

for (const [name, options] of KINDS) {
  test(`${name}: random scatter lists arrive byte for byte, many at once`, async () => {
    const { driver, machine, disk, run } = await attach(options);
    const [found] = driver.disks;
    assert.equal(
      [found?.serial, found?.sectors, found?.sectorBytes],
      ['BP00000001', disk.sectors, disk.sectorBytes],
    );
    const random = new Random(11);
    for (let round = 0; round < 60; round++) {
      const scale = disk.sectorBytes / 512;
      const sectors = 1 + random.below(16 / scale);
      const lba = random.below(disk.sectors - sectors);
      const bytes = fill(random, sectors * disk.sectorBytes);
      const segments = scatter(random, bytes.length, driver.limits);
      let at = 0;
      for (const segment of segments) {
        machine.memory.writeBytes(segment.address, bytes, at, segment.bytes);
        at += segment.bytes;
      }
      run(new TestCommand({ op: 'write', lba, sectors, direction: 'write' }).setSegments(segments));
      assert.equal(disk.read(lba * disk.sectorBytes, bytes.length), bytes);
      for (const segment of segments) machine.memory.fill(segment.address, 0, segment.bytes);
      run(new TestCommand({ op: 'read', lba, sectors, direction: 'read' }).setSegments(segments));
      at = 0;
      for (const segment of segments) {
        assert.ok(machine.memory.equals(segment.address, bytes, at, segment.bytes));
        at += segment.bytes;
      }
    }
    const scale = disk.sectorBytes / 512;
    const depth = Math.min(driver.limits.queueDepth, 1000);
    for (let round = 0; round < 3; round++) {
      const many = Array.from({ length: depth }, (_, i) => transfer('read', i, 1, DATA + 4096 * i));
      for (const command of many) command.segments.lengths[0] = 512 * scale;
      run(...many);
      assert.ok(many.every((command) => command.status === 'ok' && command.residual === 0));
    }
    assert.equal(machine.guard.findings(), []);
  });
}

test('every queue is used to its depth, and no further', async () => {
  const { driver } = await attach({ profile: 'virtio-blk-modern' });
  assert.is(driver.limits.queueDepth, 512);
  for (let i = 0; i < 512; i++) assert.ok(driver.submit(transfer('read', i, 1)));
  assert.not(driver.submit(transfer('read', 0, 1)));
});

test('flush, discard, and a write that is to be stable', async () => {
  const { run, disk } = await attach();
  disk.write(0, new Uint8Array(4096).fill(7));
  const discard = new TestCommand({ op: 'discard', lba: 1, sectors: 2 });
  const flush = new TestCommand({ op: 'flush' });
  run(discard, flush);
  assert.equal([discard.status, flush.status], ['ok', 'ok']);
  assert.equal([...disk.read(0, 1536).filter((_, i) => i % 512 === 0)], [7, 0, 0]);
  assert.is(disk.counters.flushes, 1);
  const stable = transfer('write', 0, 1);
  stable.fua = true;
  run(stable);
  assert.is(stable.status, 'ok');
  assert.is(disk.counters.flushes, 2);
});

test('errors of the medium end the command alone', async () => {
  const { run, machine, disk } = await attach();
  machine.addFault({ disk, kind: 'error', operations: ['read'], first: 5, last: 5 });
  const [bad, good] = [transfer('read', 5, 1), transfer('read', 6, 1)];
  run(bad, good);
  assert.equal([bad.status, bad.residual, good.status], ['device-error', 512, 'ok']);
});

test('passthrough: reads, writes, answers and refusals', async () => {
  const { run, machine, disk } = await attach();
  machine.memory.fill(DATA, 0x42, 1024);
  const write = scsi([codes.OP_WRITE_10, 0, 0, 0, 0, 9, 0, 0, 2, 0], 1024, 'write');
  run(write, scsi([codes.OP_SYNCHRONIZE_CACHE_10, 0, 0, 0, 0, 0, 0, 0, 0, 0], 0, 'none'));
  assert.is(write.status, 'ok');
  assert.is(
    disk.read(9 * 512, 1024).every((byte) => byte === 0x42),
    true,
  );
  const inquiry = scsi([codes.OP_INQUIRY, 0, 0, 0, 96, 0], 96);
  run(inquiry);
  assert.equal([inquiry.status, inquiry.residual], ['ok', 60]);
  assert.is(String.fromCharCode(...machine.memory.readBytes(DATA + 8, 8)), 'VIRTIO  ');
  const refused: [TestCommand, number][] = [
    [scsi([codes.OP_READ_10, 0, 0, 0, 0x20, 0, 0, 0, 1, 0], 512), codes.ASC_LBA_RANGE],
    [scsi([codes.OP_READ_10, 0, 0, 0, 0, 0, 0, 0, 2, 0], 512), codes.ASC_INVALID_CDB_FIELD],
    [scsi([0xc0, 0, 0, 0, 0, 0]), codes.ASC_INVALID_OPCODE],
  ];
  for (const [command, code] of refused) {
    run(command);
    assert.is(command.status, 'check-condition');
    assert.is(parseSense(command.sense).code, code);
  }
});

test('a command that the driver answers ends in the interrupt handler, never in submit() or kick()', async () => {
  const { driver, pump } = await attach();
  const answered = [
    scsi([codes.OP_INQUIRY, 0, 0, 0, 96, 0], 96),
    scsi([codes.OP_READ_10, 0, 0, 0, 0x20, 0, 0, 0, 1, 0], 512),
  ];
  for (const command of answered) assert.ok(driver.submit(command));
  driver.kick();
  assert.equal(
    answered.map(({ ended }) => ended),
    [0, 0],
  );
  for (let i = 0; i < 4; i++) pump();
  assert.equal(
    answered.map(({ ended, status }) => [ended, status]),
    [
      [1, 'ok'],
      [1, 'check-condition'],
    ],
  );
});

test('abort gives up one command; the others are issued again', async () => {
  for (const profile of ['virtio-blk', 'virtio-blk-modern']) {
    const { driver, pump } = await attach({ profile, disk: { latencyNs: 10_000 } });
    const commands = Array.from({ length: 8 }, (_, i) => transfer('read', i, 1, DATA + 512 * i));
    for (const command of commands) driver.submit(command);
    driver.kick();
    driver.abort(commands[3] as TestCommand);
    for (let i = 0; i < 100; i++) pump();
    assert.equal(
      commands.map((command) => [command.status, command.ended]),
      commands.map((_, i) => [i === 3 ? 'aborted' : 'ok', 1]),
    );
  }
});

test('reset ends what was open, and the device works again', async () => {
  const { driver, run } = await attach({ disk: { latencyNs: 10_000 } });
  const open = transfer('read', 0, 1);
  driver.submit(open);
  driver.kick();
  driver.reset();
  assert.equal([open.status, open.ended], ['aborted', 1]);
  const next = transfer('read', 0, 1);
  run(next);
  assert.is(next.status, 'ok');
});

test('a device that needs a reset gets one', async () => {
  const { driver, machine, controller, run, pump } = await attach();
  const lost = transfer('read', 0, 1);
  driver.submit(lost);
  controller.configWrite(4, 2, 3);
  driver.kick();
  controller.configWrite(4, 2, 7);
  for (let i = 0; i < 3; i++) pump();
  assert.equal([lost.status, lost.ended], ['transport-error', 1]);
  const next = transfer('read', 0, 1);
  run(next);
  assert.is(next.status, 'ok');
  assert.ok(machine.guard.findings().every(({ rule }) => rule === 'dev-nomaster'));
});

test('detach gives the memory back', async () => {
  const { driver, host } = await attach();
  assert.ok(host.allocated > 0);
  driver.detach();
  assert.is(host.allocated, 0);
});
