import * as codes from '../../assembly/scsi/regs.ts';
import { type AhciOptions, attachAhci } from '../../src/drivers/ahci.ts';
import type { Driver } from '../../src/drivers/driver.ts';
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

const test = suite('driver ahci');

const MIB = 2 ** 20;
/** Where test data lies: below the driver's memory, which begins at 8 MiB, and above 4 GiB. */
const DATA = 0x100000;
const DATA_BYTES = 4 * MIB;
const HIGH = 2 ** 32 + MIB;
const DRIVER_MEMORY = 8 * MIB;

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
  driver?: AhciOptions;
}

async function attach(options: RigOptions = {}): Promise<Rig> {
  const machine = await createMachine({
    flavour: 'debug',
    ram: [
      { base: 0, bytes: 16 * MIB },
      { base: 2 ** 32, bytes: 8 * MIB },
    ],
    diskBytes: 13 * MIB,
    guard: { mappings: true },
  });
  const controller = machine.addController({ kind: options.profile ?? 'ahci' });
  const disks = (options.disks ?? [{}]).map((disk, place) => {
    const made = machine.addDisk({ bytes: 4 * MIB, ...disk });
    controller.attach(made, place);
    return made;
  });
  const host = new TestHost(machine, controller, DRIVER_MEMORY);
  const driver = attachAhci(host, options.driver);
  machine.guard.map(controller, DATA, DATA_BYTES, 'both');
  machine.guard.map(controller, HIGH, DATA_BYTES, 'both');
  const runner = makeRunner(machine, controller, driver, options.driver?.vector !== undefined);
  return { machine, controller, host, driver, disks, ...runner };
}

/** `bytes` bytes in up to `most` segments of even length at even addresses that don't meet. */
function scatter(random: Random, bytes: number, most: number, bases: readonly number[]) {
  const count = 1 + random.below(most);
  const stride = Math.floor(DATA_BYTES / most / 4096) * 4096;
  const segments = [];
  let left = bytes;
  for (let i = 0; i < count && left > 0; i++) {
    const n = i === count - 1 ? left : Math.min(left, 2 + 2 * random.below(2047));
    const base = bases[random.below(bases.length)] as number;
    segments.push({ address: base + stride * i + 2 * random.below(64), bytes: n });
    left -= n;
  }
  return segments;
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

function scsi(cdb: readonly number[], bytes = 0, direction: 'read' | 'write' | 'none' = 'read'): TestCommand {
  const command = new TestCommand({ op: 'scsi', cdbLength: cdb.length, direction });
  command.cdb.set(cdb);
  return bytes === 0 ? command : command.setSegments([{ address: DATA, bytes }]);
}

for (const profile of ['ahci', 'ahci-sb600', 'ahci-32bit', 'ahci-26lines', 'ahci-1slot', 'ahci-q35']) {
  test(`${profile}: finds the disks of its ports`, async () => {
    const disks: DiskOptions[] = [{}, { sectorBytes: 4096 }, { writeCache: false }];
    const { driver, machine } = await attach({ profile, disks });
    assert.equal(
      driver.disks.map((disk) => [disk.model, disk.sectors, disk.sectorBytes, disk.writeCache]),
      [
        ['BACKPLANE ATA DISK', 8192, 512, true],
        ['BACKPLANE ATA DISK', 1024, 4096, true],
        ['BACKPLANE ATA DISK', 8192, 512, false],
      ],
    );
    assert.is(driver.disks[1]?.serial, 'BP00000002');
    assert.equal(machine.guard.findings(), []);
  });

  test(`${profile}: random scatter lists arrive byte for byte`, async () => {
    const { driver, machine, disks, run } = await attach({ profile, disks: [{}, { sectorBytes: 4096 }] });
    const random = new Random(7);
    const bases = driver.limits.addressBits > 32 && profile !== 'ahci-26lines' ? [DATA, HIGH] : [DATA];
    for (let round = 0; round < 40; round++) {
      const place = random.below(2);
      const disk = disks[place] as Disk;
      const sectors = 1 + random.below(disk.sectorBytes === 512 ? 256 : 32);
      const lba = random.below(disk.sectors - sectors + 1);
      const bytes = sectors * disk.sectorBytes;
      const segments = scatter(random, bytes, driver.limits.maxSegments, bases);
      const expected = fill(random, bytes);
      const op = random.below(2) === 0 ? 'read' : 'write';
      const command = new TestCommand({ op, disk: place, lba, sectors, direction: op, fua: round % 5 === 0 });
      command.setSegments(segments);
      if (op === 'read') disk.write(lba * disk.sectorBytes, expected);
      let at = 0;
      for (const segment of segments) {
        if (op === 'write') machine.memory.writeBytes(segment.address, expected, at, segment.bytes);
        at += segment.bytes;
      }
      run(command);
      assert.equal([command.status, command.residual], ['ok', 0]);
      if (op === 'write') assert.equal(disk.read(lba * disk.sectorBytes, bytes), expected);
      at = 0;
      for (const segment of segments) {
        assert.ok(machine.memory.equals(segment.address, expected, at, segment.bytes));
        at += segment.bytes;
      }
    }
    assert.equal(machine.guard.findings(), []);
  });
}

test('a board that claims 64 lines and drives 32 corrupts memory without its quirk, and is reported', async () => {
  const { driver, machine, run } = await attach({ profile: 'ahci-sb600', driver: { quirks: false } });
  assert.is(driver.limits.addressBits, 64);
  run(transfer('read', 0, 8, HIGH));
  assert.equal(
    machine.guard.findings().map((finding) => finding.rule),
    ['dev-truncated'],
  );
  assert.is((await attach({ profile: 'ahci-sb600' })).driver.limits.addressBits, 32);
});

test('32 commands are with the disk at once, and one doorbell write issues them all', async () => {
  const { driver, machine, controller, run, disks } = await attach();
  const bytes = fill(new Random(3), 32 * 4096);
  disks[0]?.write(0, bytes);
  const commands = Array.from({ length: 32 }, (_, i) => transfer('read', 8 * i, 8, DATA + 0x2000 * i));
  for (const command of commands) assert.ok(driver.submit(command));
  assert.not.ok(driver.submit(transfer('read', 0, 8, DATA)));
  const before = controller.counters.registerWrites;
  driver.kick();
  assert.is(controller.counters.registerWrites - before, 2);
  assert.is(controller.counters.commands, 33);
  while (commands.some((command) => command.ended === 0)) {
    machine.advance(machine.nextDeadline());
    driver.interrupt();
  }
  for (const [i, command] of commands.entries()) {
    assert.is(command.status, 'ok');
    assert.ok(machine.memory.equals(DATA + 0x2000 * i, bytes, 4096 * i, 4096));
  }
  run(transfer('read', 0, 8, DATA));
});

test('queued commands end out of order', async () => {
  const { machine, run, disks } = await attach();
  const disk = disks[0] as Disk;
  machine.addFault({ disk, kind: 'delay', first: 0, last: 7, argument: 1e6 });
  const order: number[] = [];
  const commands = [0, 64, 128].map((lba) => transfer('read', lba, 8, DATA + lba * 512));
  for (const command of commands) {
    command.done = () => {
      command.ended++;
      order.push(command.lba);
    };
  }
  run(...commands);
  assert.equal(order, [64, 128, 0]);
});

test('interrupts by message lose nothing', async () => {
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
  assert.is(machine.irqLines & (1 << controller.line), 0);
});

test('a medium error is a check condition with the sector; the other commands are tried again', async () => {
  for (const profile of ['ahci', 'ahci-1slot', 'ahci-sb600']) {
    const { driver, machine, disks, run } = await attach({ profile });
    const disk = disks[0] as Disk;
    const bytes = fill(new Random(11), 64 * 512);
    disk.write(0, bytes);
    machine.addFault({ disk, kind: 'error', first: 19, last: 19 });
    const depth = Math.min(driver.limits.queueDepth, 8);
    for (let round = 0; round < 3; round++) {
      const commands = Array.from({ length: depth }, (_, i) => transfer('read', 8 * i, 8, DATA + 4096 * i));
      if (depth === 1) commands.push();
      run(...commands);
      for (const [i, command] of commands.entries()) {
        if (i === 2) {
          assert.is(command.status, 'check-condition');
          const sense = parseSense(command.sense);
          assert.equal([sense.key, sense.code, sense.information], [codes.KEY_MEDIUM_ERROR, 0x1100, 19]);
          assert.is(command.residual, 5 * 512);
          assert.ok(machine.memory.equals(DATA + 4096 * i, bytes, 4096 * i, 3 * 512));
        } else {
          assert.is(command.status, 'ok');
          assert.ok(machine.memory.equals(DATA + 4096 * i, bytes, 4096 * i, 4096));
        }
      }
    }
    assert.equal(machine.guard.findings(), []);
  }
});

test('a write that the medium loses is a hardware error, and a write-protected disk aborts', async () => {
  const { machine, disks, run } = await attach({ disks: [{}, { readOnly: true }] });
  machine.addFault({ disk: disks[0] as Disk, kind: 'error', first: 4, last: 4, times: 1 });
  const lost = transfer('write', 0, 8, DATA);
  const refused = transfer('write', 0, 8, DATA);
  refused.disk = 1;
  run(lost, refused);
  assert.equal(
    [lost.status, parseSense(lost.sense).key, parseSense(lost.sense).information],
    ['check-condition', 4, 4],
  );
  assert.equal([refused.status, parseSense(refused.sense).key], ['check-condition', 11]);
});

test('memory that is not there is a transport error of that command alone', async () => {
  for (const profile of ['ahci', 'ahci-1slot']) {
    const { machine, disks, run } = await attach({ profile });
    const bytes = fill(new Random(13), 4096);
    disks[0]?.write(0, bytes);
    const bad = transfer('read', 0, 8, 0x2000_0000);
    if (profile === 'ahci-1slot') run(bad);
    else {
      const good = [1, 2, 3].map((i) => transfer('read', 0, 8, DATA + 4096 * i));
      run(good[0] as TestCommand, bad, good[1] as TestCommand, good[2] as TestCommand);
      for (const [i, command] of good.entries()) {
        assert.is(command.status, 'ok');
        assert.ok(machine.memory.equals(DATA + 4096 * (i + 1), bytes));
      }
    }
    assert.is(bad.status, 'transport-error');
    assert.ok(machine.guard.findings().every((finding) => finding.rule === 'dev-hole'));
    const after = transfer('read', 0, 8, DATA);
    run(after);
    assert.is(after.status, 'ok');
  }
});

test('flush and discard wait for the queue and go through', async () => {
  const { disks, machine, run } = await attach();
  const disk = disks[0] as Disk;
  disk.write(0, new Uint8Array(4 * MIB).fill(0xaa));
  const discard = new TestCommand({ op: 'discard', lba: 100, sectors: 5000 });
  const flush = new TestCommand({ op: 'flush' });
  run(
    transfer('read', 0, 8, DATA),
    flush,
    transfer('read', 8, 8, DATA),
    discard,
    transfer('write', 0, 1, DATA),
  );
  assert.equal([flush.status, discard.status], ['ok', 'ok']);
  assert.is(disk.counters.flushes, 1);
  const bytes = disk.read(99 * 512, 5002 * 512);
  assert.ok(bytes.subarray(0, 512).every((byte) => byte === 0xaa));
  assert.ok(bytes.subarray(512, 5001 * 512).every((byte) => byte === 0));
  assert.ok(bytes.subarray(5001 * 512).every((byte) => byte === 0xaa));
  assert.equal(machine.guard.findings(), []);
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

test('a cable that is pulled ends every command', async () => {
  const { controller, run, driver, disks } = await attach({ disks: [{}, {}] });
  const commands = Array.from({ length: 4 }, (_, i) => transfer('read', i, 1, DATA + 512 * i));
  for (const command of commands) driver.submit(command);
  driver.kick();
  controller.detachDisk(0);
  const other = transfer('read', 0, 1, DATA);
  other.disk = 1;
  run(other);
  assert.equal(
    commands.map((command) => command.status),
    commands.map(() => 'no-device'),
  );
  assert.is(other.status, 'ok');
  assert.is(disks.length, 2);
});

test('detach gives the memory back', async () => {
  const { driver, host, controller } = await attach();
  assert.ok(host.allocated > 0);
  driver.detach();
  assert.is(host.allocated, 0);
  assert.is(controller.read32(5, 4) & 2, 0);
});

test('SAT: INQUIRY and its pages say what IDENTIFY says', async () => {
  const { machine, run } = await attach();
  const inquiry = scsi([codes.OP_INQUIRY, 0, 0, 0, 96, 0], 96);
  run(inquiry);
  assert.equal([inquiry.status, inquiry.residual], ['ok', 60]);
  const text = (at: number, n: number): string =>
    String.fromCharCode(...machine.memory.readBytes(DATA + at, n));
  assert.equal([text(8, 8), text(16, 16)], ['ATA     ', 'BACKPLANE ATA DI']);
  run(scsi([codes.OP_INQUIRY, 1, 0x80, 0, 96, 0], 96));
  assert.is(text(4, 10), 'BP00000001');
  run(scsi([codes.OP_INQUIRY, 1, 0x83, 0, 96, 0], 96));
  assert.is(machine.memory.read8(DATA + 3), 84);
  run(scsi([codes.OP_INQUIRY, 1, 0, 0, 96, 0], 96));
  assert.equal([...machine.memory.readBytes(DATA + 3, 4)], [3, 0, 0x80, 0x83]);
});

test('SAT: capacity, mode pages, units, sense', async () => {
  const { machine, run } = await attach({ disks: [{ sectorBytes: 4096 }] });
  const big = (at: number): number =>
    machine.memory.readBytes(DATA + at, 4).reduce((sum, byte) => sum * 256 + byte, 0);
  run(scsi([codes.OP_READ_CAPACITY_10, 0, 0, 0, 0, 0, 0, 0, 0, 0], 8));
  assert.equal([big(0), big(4)], [1023, 4096]);
  run(scsi([codes.OP_SERVICE_ACTION_IN_16, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0], 32));
  assert.equal([big(0), big(4), big(8)], [0, 1023, 4096]);
  run(scsi([codes.OP_MODE_SENSE_6, 8, 0x3f, 0, 96, 0], 96));
  assert.equal([...machine.memory.readBytes(DATA, 7)], [35, 0, 0x10, 0, 8, 18, 4]);
  run(scsi([codes.OP_REPORT_LUNS, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0], 16));
  assert.is(big(0), 8);
  run(scsi([codes.OP_REQUEST_SENSE, 0, 0, 0, 18, 0], 18));
  assert.is(machine.memory.read8(DATA), 0x70);
});

test('SAT: reads and writes of every length, verify, synchronize, start and stop', async () => {
  const { machine, disks, run } = await attach();
  const disk = disks[0] as Disk;
  const bytes = fill(new Random(17), 1024);
  machine.memory.writeBytes(DATA, bytes);
  const writes = [
    [codes.OP_WRITE_6, 0, 0, 10, 2, 0],
    [codes.OP_WRITE_10, 8, 0, 0, 0, 20, 0, 0, 2, 0],
    [codes.OP_WRITE_12, 0, 0, 0, 0, 30, 0, 0, 0, 2, 0, 0],
    [codes.OP_WRITE_16, 0, 0, 0, 0, 0, 0, 0, 0, 40, 0, 0, 0, 2, 0, 0],
  ];
  for (const [i, cdb] of writes.entries()) {
    const command = scsi(cdb, 1024, 'write');
    run(command);
    assert.is(command.status, 'ok');
    assert.equal(disk.read((10 + 10 * i) * 512, 1024), bytes);
  }
  for (const [op, length] of [
    [codes.OP_READ_6, 6],
    [codes.OP_READ_10, 10],
    [codes.OP_READ_16, 16],
  ] as const) {
    const cdb = [...(writes[[6, 10, 16].indexOf(length)] as number[])];
    if (length === 16) cdb.splice(0, 16, ...(writes[3] as number[]));
    cdb[0] = op;
    machine.memory.fill(DATA, 0, 1024);
    run(scsi(cdb, 1024));
    assert.ok(machine.memory.equals(DATA, bytes));
  }
  const others = [
    [codes.OP_VERIFY_10, 0, 0, 0, 0, 20, 0, 0, 2, 0],
    [codes.OP_SYNCHRONIZE_CACHE_10, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    [codes.OP_START_STOP_UNIT, 0, 0, 0, 0, 0],
    [codes.OP_START_STOP_UNIT, 0, 0, 0, 1, 0],
    [codes.OP_TEST_UNIT_READY, 0, 0, 0, 0, 0],
    [codes.OP_READ_10, 0, 0, 0, 0, 0, 0, 0, 0, 0],
  ];
  for (const cdb of others) {
    const command = scsi(cdb, 0, 'none');
    run(command);
    assert.is(command.status, 'ok');
  }
  // The FUA write and SYNCHRONIZE CACHE.
  assert.is(disk.counters.flushes, 2);
});

test('SAT: what is refused says why', async () => {
  const { run } = await attach();
  const refused: [number[], number][] = [
    [[0xc0, 0, 0, 0, 0, 0], codes.ASC_INVALID_OPCODE],
    [[codes.OP_READ_10, 0, 0, 0, 0x20, 0, 0, 0, 1, 0], codes.ASC_LBA_RANGE],
    [[codes.OP_INQUIRY, 1, 0xc0, 0, 96, 0], codes.ASC_INVALID_CDB_FIELD],
    [[codes.OP_MODE_SENSE_6, 0, 0x0d, 0, 96, 0], codes.ASC_INVALID_CDB_FIELD],
    [[codes.OP_VERIFY_10, 2, 0, 0, 0, 0, 0, 0, 1, 0], codes.ASC_INVALID_CDB_FIELD],
    // Longer than its segments.
    [[codes.OP_READ_10, 0, 0, 0, 0, 0, 0, 0, 9, 0], codes.ASC_INVALID_CDB_FIELD],
  ];
  for (const [cdb, code] of refused) {
    const command = scsi(cdb, 96);
    run(command);
    assert.is(command.status, 'check-condition');
    assert.equal(
      [parseSense(command.sense).key, parseSense(command.sense).code],
      [codes.KEY_ILLEGAL_REQUEST, code],
    );
    assert.is(command.residual, 96);
  }
});
