import * as codes from '../../assembly/scsi/regs.ts';
import type { Driver } from '../../src/drivers/driver.ts';
import { attachNvme, type NvmeOptions } from '../../src/drivers/nvme.ts';
import { parseSense } from '../../src/drivers/scsi.ts';
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

const test = suite('driver nvme');

const MIB = 2 ** 20;
const PAGE = 4096;
/** Where test data lies: below the driver's memory, which begins at 8 MiB, and above 4 GiB. */
const DATA = 0x100000;
const DATA_BYTES = 4 * MIB;
const HIGH = 2 ** 32 + MIB;
const DRIVER_MEMORY = 8 * MIB;
/** Behind all RAM. */
const HOLE = 0x2000_0000;

interface Rig extends Runner {
  machine: Machine;
  controller: Controller;
  host: TestHost;
  driver: Driver;
  disks: Disk[];
}

interface RigOptions {
  profile?: string;
  disks?: DiskOptions[];
  driver?: NvmeOptions;
}

async function attach(options: RigOptions = {}): Promise<Rig> {
  const machine = await createMachine({
    flavour: 'debug',
    ram: [
      { base: 0, bytes: 24 * MIB },
      { base: 2 ** 32, bytes: 8 * MIB },
    ],
    diskBytes: 13 * MIB,
    guard: { mappings: true },
  });
  const controller = machine.addController({ kind: options.profile ?? 'nvme' });
  const disks = (options.disks ?? [{}]).map((disk, place) => {
    const made = machine.addDisk({ bytes: 4 * MIB, ...disk });
    controller.attach(made, place);
    return made;
  });
  const host = new TestHost(machine, controller, DRIVER_MEMORY);
  const driver = attachNvme(host, options.driver);
  machine.guard.map(controller, DATA, DATA_BYTES, 'both');
  machine.guard.map(controller, HIGH, DATA_BYTES, 'both');
  const runner = makeRunner(machine, controller, driver, options.driver?.vector !== undefined);
  return { machine, controller, host, driver, disks, ...runner };
}

function transfer(
  op: 'read' | 'write',
  lba: number,
  sectors: number,
  address: number,
  bytes = sectors * 512,
) {
  return new TestCommand({ op, lba, sectors, direction: op }).setSegments([{ address, bytes }]);
}

function scsi(cdb: readonly number[], bytes = 0): TestCommand {
  const command = new TestCommand({ op: 'scsi', cdbLength: cdb.length, direction: 'read' });
  command.cdb.set(cdb);
  return bytes === 0 ? command : command.setSegments([{ address: DATA, bytes }]);
}

/** Segments as the virt boundary allows them: whole pages but for the two ends; or anything in dwords. */
function scatter(random: Random, bytes: number, driver: Driver): { address: number; bytes: number }[] {
  const segments = [];
  const pages = driver.limits.virtBoundaryMask !== 0;
  let left = bytes;
  for (let i = 0; left > 0; i++) {
    const base = (random.below(2) === 0 ? DATA : HIGH) + i * 8 * PAGE;
    const offset = pages && i > 0 ? 0 : 4 * random.below(1024);
    const whole = pages ? PAGE * (1 + random.below(3)) - offset : 4 * (1 + random.below(4 * 1024));
    const most = i + 1 === driver.limits.maxSegments ? left : whole;
    const n = Math.min(left, most);
    segments.push({ address: base + offset, bytes: n });
    left -= n;
  }
  return segments;
}

for (const profile of ['nvme', 'nvme-48lines', 'nvme-mdts1', 'nvme-nosgl']) {
  test(`${profile}: scattered writes and reads of every size are the disk's bytes`, async () => {
    const { driver, machine, disks, run } = await attach({ profile });
    const disk = disks[0] as Disk;
    const random = new Random(7);
    for (let round = 0; round < 100; round++) {
      const sectors = 1 + random.below(Math.min(driver.limits.maxSectors, 200) - 1);
      const lba = random.below(4000);
      const bytes = fill(random, sectors * 512);
      const segments = scatter(random, bytes.length, driver);
      if (segments.length > driver.limits.maxSegments) continue;
      let at = 0;
      for (const segment of segments) {
        machine.memory.writeBytes(segment.address, bytes, at, segment.bytes);
        at += segment.bytes;
      }
      run(new TestCommand({ op: 'write', direction: 'write', lba, sectors }).setSegments(segments));
      assert.equal(disk.read(lba * 512, bytes.length), bytes);
      for (const segment of segments) machine.memory.fill(segment.address, 0, segment.bytes);
      run(new TestCommand({ op: 'read', direction: 'read', lba, sectors }).setSegments(segments));
      at = 0;
      for (const segment of segments) {
        assert.ok(machine.memory.equals(segment.address, bytes, at, segment.bytes));
        at += segment.bytes;
      }
    }
    assert.equal(machine.guard.findings(), []);
  });
}

test('limits follow the board: MDTS, SGLs, address lines', async () => {
  const limits = async (profile: string, driver: NvmeOptions = {}) =>
    (await attach({ profile, driver })).driver.limits;
  const plain = await limits('nvme');
  assert.equal(
    [plain.maxSectors, plain.virtBoundaryMask, plain.addressBits, plain.queueDepth],
    [256, 0, 64, 252],
  );
  assert.equal([(await limits('nvme', { sgl: false })).virtBoundaryMask], [4095]);
  assert.is((await limits('nvme-mdts1')).maxSectors, 16);
  assert.is((await limits('nvme-48lines')).addressBits, 48);
  assert.is((await limits('nvme-48lines', { quirks: false })).addressBits, 64);
  assert.is((await limits('nvme-nosgl')).virtBoundaryMask, 4095);
});

test('a board that claims 64 lines and drives 26 corrupts memory, and is reported', async () => {
  const { machine, run } = await attach({ profile: 'nvme-26lines' });
  run(transfer('read', 0, 8, HIGH));
  assert.ok(machine.guard.findings().some((finding) => finding.rule === 'dev-truncated'));
});

test('every slot of every queue is with the controller at once, one doorbell a queue', async () => {
  const { driver, machine, controller, disks, pump } = await attach({ driver: { queues: 2, depth: 1024 } });
  const bytes = fill(new Random(3), 2046 * 512);
  disks[0]?.write(0, bytes);
  const commands = Array.from({ length: 2046 }, (_, i) => transfer('read', i, 1, DATA + 512 * i));
  for (const command of commands) assert.ok(driver.submit(command));
  assert.not.ok(driver.submit(transfer('read', 0, 1, DATA)));
  const before = controller.counters;
  driver.kick();
  assert.is(controller.counters.registerWrites - before.registerWrites, 2);
  while (commands.some((command) => command.ended === 0)) pump();
  assert.ok(commands.every((command) => command.status === 'ok' && command.ended === 1));
  assert.ok(machine.memory.equals(DATA, bytes));
  assert.ok(controller.counters.interrupts - before.interrupts <= 3);
});

test('interrupts by message lose nothing, on every queue', async () => {
  const { run, machine, controller, disks } = await attach({ driver: { vector: 0x41 }, disks: [{}, {}] });
  const bytes = fill(new Random(5), 8192);
  for (const disk of disks) disk.write(0, bytes);
  for (let round = 0; round < 20; round++) {
    const commands = Array.from({ length: 24 }, (_, i) => {
      const command = transfer('read', i % 8, 2, DATA + 4096 * i);
      command.disk = i % 2;
      return command;
    });
    run(...commands);
  }
  assert.ok(machine.memory.equals(DATA + 4096, bytes, 512, 1024));
  assert.is(machine.irqLines & (1 << controller.line), 0);
  assert.equal(machine.guard.findings(), []);
});

test('errors become sense data or a status, and the next command is good', async () => {
  const { machine, disks, run } = await attach({ disks: [{}, { readOnly: true }] });
  const disk = disks[0] as Disk;
  machine.addFault({ disk, kind: 'error', first: 19, last: 19 });
  const read = transfer('read', 16, 8, DATA);
  const write = transfer('write', 16, 8, DATA);
  const locked = transfer('write', 0, 8, DATA);
  locked.disk = 1;
  const beyond = transfer('read', 8190, 8, DATA);
  const nowhere = transfer('read', 0, 8, HOLE);
  run(read, write, locked, beyond, nowhere);
  assert.equal(
    [read, write, locked, beyond].map(({ sense }) => [parseSense(sense).key, parseSense(sense).code]),
    [
      [codes.KEY_MEDIUM_ERROR, codes.ASC_READ_ERROR],
      [codes.KEY_MEDIUM_ERROR, codes.ASC_WRITE_ERROR],
      [codes.KEY_DATA_PROTECT, codes.ASC_WRITE_PROTECTED],
      [codes.KEY_ILLEGAL_REQUEST, codes.ASC_LBA_RANGE],
    ],
  );
  assert.is(nowhere.status, 'transport-error');
  const after = transfer('read', 0, 8, DATA);
  run(after);
  assert.is(after.status, 'ok');
});

test('flush, discard and force unit access go through', async () => {
  const { disks, run } = await attach();
  const disk = disks[0] as Disk;
  disk.write(0, new Uint8Array(4 * MIB).fill(0xaa));
  const fua = transfer('write', 0, 1, DATA);
  fua.fua = true;
  run(new TestCommand({ op: 'flush' }), new TestCommand({ op: 'discard', lba: 100, sectors: 5000 }), fua);
  assert.is(disk.counters.flushes, 2);
  const bytes = disk.read(99 * 512, 5002 * 512);
  assert.equal([bytes[0], bytes[512], bytes[5001 * 512 - 1], bytes[5001 * 512]], [0xaa, 0, 0, 0xaa]);
});

test('an abort ends its command alone, and a reset ends all', async () => {
  const { driver, machine, run, pump } = await attach();
  const commands = Array.from({ length: 4 }, (_, i) => transfer('read', i, 1, DATA + 512 * i));
  for (const command of commands) driver.submit(command);
  driver.kick();
  driver.abort(commands[1] as TestCommand);
  while (commands.some((command) => command.ended === 0)) pump();
  assert.equal(
    commands.map((command) => command.status),
    ['ok', 'aborted', 'ok', 'ok'],
  );
  const more = Array.from({ length: 4 }, (_, i) => transfer('write', i, 1, DATA + 512 * i));
  for (const command of more) driver.submit(command);
  driver.kick();
  driver.reset();
  assert.equal(
    more.map((command) => [command.ended, command.status]),
    more.map(() => [1, 'aborted']),
  );
  const after = transfer('read', 0, 8, DATA);
  run(after);
  assert.is(after.status, 'ok');
  assert.equal(machine.guard.findings(), []);
});

test('namespaces are disks, with blocks of 512 and 4096 bytes', async () => {
  const { driver, disks, machine, run } = await attach({ disks: [{}, { sectorBytes: 4096 }] });
  assert.equal(
    driver.disks.map(({ sectors, sectorBytes, model }) => [sectors, sectorBytes, model]),
    [
      [8192, 512, 'BACKPLANE NVME DISK'],
      [1024, 4096, 'BACKPLANE NVME DISK'],
    ],
  );
  const bytes = fill(new Random(4), 8192);
  disks[1]?.write(4096, bytes);
  const command = transfer('read', 1, 2, DATA, 8192);
  command.disk = 1;
  run(command);
  assert.ok(machine.memory.equals(DATA, bytes));
});

test('a disk that goes away ends its commands', async () => {
  const { controller, driver, pump } = await attach();
  const command = transfer('read', 0, 8, DATA);
  driver.submit(command);
  driver.kick();
  controller.detachDisk(0);
  const late = transfer('read', 0, 8, DATA);
  driver.submit(late);
  driver.kick();
  while (command.ended === 0 || late.ended === 0) pump();
  assert.equal([command.status, late.status], ['no-device', 'no-device']);
});

test('SCSI commands are translated: INQUIRY, capacity, reads, what is refused', async () => {
  const { machine, disks, run } = await attach();
  const inquiry = scsi([codes.OP_INQUIRY, 0, 0, 0, 96, 0], 96);
  run(inquiry);
  assert.equal([inquiry.status, inquiry.residual], ['ok', 60]);
  const text = String.fromCharCode(...machine.memory.readBytes(DATA + 8, 24));
  assert.is(text, 'NVMe    BACKPLANE NVME D');
  run(scsi([codes.OP_READ_CAPACITY_10, 0, 0, 0, 0, 0, 0, 0, 0, 0], 8));
  assert.equal([...machine.memory.readBytes(DATA, 8)], [0, 0, 0x1f, 0xff, 0, 0, 2, 0]);
  const bytes = fill(new Random(8), 1024);
  disks[0]?.write(20 * 512, bytes);
  run(scsi([codes.OP_READ_10, 0, 0, 0, 0, 20, 0, 0, 2, 0], 1024));
  assert.ok(machine.memory.equals(DATA, bytes));
  for (const cdb of [
    [codes.OP_VERIFY_10, 0, 0, 0, 0, 20, 0, 0, 2, 0],
    [codes.OP_SYNCHRONIZE_CACHE_10, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    [codes.OP_TEST_UNIT_READY, 0, 0, 0, 0, 0],
    [codes.OP_START_STOP_UNIT, 0, 0, 0, 1, 0],
  ]) {
    const command = scsi(cdb);
    run(command);
    assert.is(command.status, 'ok');
  }
  const refused = scsi([0xc0, 0, 0, 0, 0, 0]);
  run(refused);
  assert.equal(
    [refused.status, parseSense(refused.sense).code],
    ['check-condition', codes.ASC_INVALID_OPCODE],
  );
});

test('detach gives the memory back', async () => {
  const { driver, host, controller } = await attach();
  assert.ok(host.allocated > 0);
  driver.detach();
  assert.is(host.allocated, 0);
  assert.is(controller.read32(0, 0x1c) & 1, 0);
});

test('submission queues in the controller’s buffer: no entry is fetched from memory', async () => {
  const { driver, machine, disks, controller, host, run } = await attach({
    profile: 'nvme-cmb',
    driver: { buffer: true, queues: 3 },
  });
  const disk = disks[0] as Disk;
  disk.write(0, fill(new Random(3), 64 * 512));
  const entries = Array.from({ length: 150 }, (_, i) => transfer('read', i % 64, 1, DATA + 512 * i));
  run(...entries);
  for (let i = 0; i < entries.length; i++)
    assert.ok(machine.memory.equals(DATA + 512 * i, disk.read(512 * (i % 64), 512)));
  // The first entry of the first queue is still there: a read.
  assert.is(controller.read32(2, 0) & 0xff, 2);
  driver.reset();
  run(transfer('read', 5, 1, DATA));
  assert.ok(machine.memory.equals(DATA, disk.read(5 * 512, 512)));
  assert.equal(machine.guard.findings(), []);
  driver.detach();
  assert.is(host.allocated, 0);
});

test('a buffer that is too small takes the queues that fit, and one that takes none is left alone', async () => {
  for (const profile of ['nvme', 'nvme-cmb']) {
    const { machine, driver, disks, run } = await attach({
      profile,
      driver: { buffer: true, queues: 8, depth: 1024 },
    });
    run(...Array.from({ length: 64 }, (_, i) => transfer('read', i, 1, DATA + 512 * i)));
    assert.ok(machine.memory.equals(DATA, (disks[0] as Disk).read(0, 64 * 512)));
    driver.detach();
  }
});
