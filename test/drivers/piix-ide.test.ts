import { PCI_STATUS } from '../../assembly/bus/pci-regs.ts';
import * as regs from '../../assembly/piix-ide/regs.ts';
import * as codes from '../../assembly/scsi/regs.ts';
import type { Driver } from '../../src/drivers/driver.ts';
import { attachPiixIde } from '../../src/drivers/piix-ide.ts';
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
import { fill, TestCommand, TestHost } from './host.ts';

const test = suite('driver piix-ide');

const MIB = 2 ** 20;
/** Where test data lies: below the driver's memory. */
const DATA = 0x100000;
const DATA_BYTES = 4 * MIB;
const DRIVER_MEMORY = 8 * MIB;

interface Rig {
  machine: Machine;
  controller: Controller;
  host: TestHost;
  driver: Driver;
  disks: Disk[];
  /** Submits and kicks as soon as there is room, and handles interrupts until every command has ended. */
  run(...commands: TestCommand[]): void;
  pump(): void;
}

interface RigOptions {
  profile?: string;
  /** Channel, drive and disk. */
  disks?: readonly (readonly [number, number, DiskOptions?])[];
  prepare?(controller: Controller): void;
}

async function attach(options: RigOptions = {}): Promise<Rig> {
  const machine = await createMachine({
    flavour: 'debug',
    ram: [
      { base: 0, bytes: 16 * MIB },
      { base: 2 ** 32, bytes: MIB },
    ],
    diskBytes: 20 * MIB,
    guard: { mappings: true },
  });
  const controller = machine.addController({ kind: options.profile ?? 'piix-ide' });
  const disks = (options.disks ?? [[0, 0]]).map(([channel, drive, disk]) => {
    const made = machine.addDisk({ bytes: 4 * MIB, ...disk });
    controller.attach(made, channel, drive);
    return made;
  });
  options.prepare?.(controller);
  const host = new TestHost(machine, controller, DRIVER_MEMORY);
  const driver = attachPiixIde(host);
  machine.guard.map(controller, DATA, DATA_BYTES, 'both');
  const lines = controller.lines.reduce((bits, line) => bits | (1 << line), 0);
  const pump = (): void => {
    machine.advance(machine.nextDeadline());
    if ((machine.irqLines & lines) !== 0) driver.interrupt();
  };
  const run = (...commands: TestCommand[]): void => {
    const waiting = [...commands];
    for (let i = 0; i < 10000 && commands.some((command) => command.ended === 0); i++) {
      for (const command of [...waiting]) {
        if (driver.submit(command)) waiting.splice(waiting.indexOf(command), 1);
      }
      driver.kick();
      pump();
    }
    assert.ok(commands.every((command) => command.ended === 1));
  };
  return { machine, controller, host, driver, disks, run, pump };
}

/** `bytes` bytes in segments of even length that stay in their 64 KiB. */
function scatter(random: Random, bytes: number, most: number) {
  const segments = [];
  for (let i = 0, left = bytes; left > 0; i++) {
    const start = DATA + 0x10000 * (i % 32) + 2 * random.below(0x800) + 0x2000 * Math.floor(i / 32);
    const room = 0x10000 - (start & 0xffff);
    const n =
      i === most - 1
        ? left
        : Math.min(left, i < 32 && random.below(4) === 0 ? 0xfff & ~1 : 2 + 2 * random.below(1000));
    segments.push({ address: start, bytes: Math.min(n, room) });
    left -= Math.min(n, room);
  }
  return segments;
}

function transfer(op: 'read' | 'write', lba: number, sectors: number, address: number, disk = 0) {
  const command = new TestCommand({ op, disk, lba, sectors, direction: op });
  return command.setSegments([{ address, bytes: sectors * 512 }]);
}

function scsi(cdb: readonly number[], bytes = 0): TestCommand {
  const command = new TestCommand({ op: 'scsi', cdbLength: cdb.length, direction: 'read' });
  command.cdb.set(cdb);
  return bytes === 0 ? command : command.setSegments([{ address: DATA, bytes }]);
}

for (const profile of ['piix3', 'piix4', 'piix-128prd']) {
  test(`${profile}: finds the drives of both channels`, async () => {
    const { driver, machine } = await attach({
      profile,
      disks: [
        [0, 0],
        [0, 1, { sectorBytes: 4096 }],
        [1, 1, { writeCache: false }],
      ],
    });
    assert.equal(
      driver.disks.map((disk) => [disk.model, disk.sectors, disk.sectorBytes, disk.writeCache]),
      [
        ['BACKPLANE ATA DISK', 8192, 512, true],
        ['BACKPLANE ATA DISK', 1024, 4096, true],
        ['BACKPLANE ATA DISK', 8192, 512, false],
      ],
    );
    assert.equal(
      { ...driver.limits, maxSegments: 0 },
      {
        addressBits: 32,
        maxSegments: 0,
        maxSegmentBytes: 65536,
        boundaryMask: 0xffff,
        virtBoundaryMask: 0,
        alignmentMask: 1,
        maxSectors: 65535,
        queueDepth: 2,
      },
    );
    assert.is(driver.limits.maxSegments, profile === 'piix-128prd' ? 128 : 512);
    assert.equal(machine.guard.findings(), []);
  });

  test(`${profile}: random scatter lists arrive byte for byte on every drive`, async () => {
    const { driver, machine, disks, run } = await attach({
      profile,
      disks: [
        [0, 0],
        [0, 1, { sectorBytes: 4096 }],
        [1, 0],
      ],
    });
    const random = new Random(7);
    for (let round = 0; round < 40; round++) {
      const place = random.below(3);
      const disk = disks[place] as Disk;
      const sectors = 1 + random.below(disk.sectorBytes === 512 ? 96 : 12);
      const lba = random.below(disk.sectors - sectors + 1);
      const bytes = sectors * disk.sectorBytes;
      const segments = scatter(random, bytes, 120);
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
    assert.ok(driver.limits.maxSegments >= 128);
    assert.equal(machine.guard.findings(), []);
  });
}

test('a channel that the BIOS left closed has no drives', async () => {
  const { driver } = await attach({
    disks: [
      [0, 0],
      [1, 0],
    ],
    prepare: (controller) => controller.configWrite(regs.PIIX_IDETIM_SECONDARY, 2, 0),
  });
  assert.is(driver.disks.length, 1);
  assert.is(driver.limits.queueDepth, 1);
});

test('one command a channel, both channels at once', async () => {
  const { driver, machine, disks, controller, run } = await attach({
    disks: [
      [0, 0],
      [0, 1],
      [1, 0],
    ],
  });
  for (const [i, disk] of disks.entries()) disk.write(0, fill(new Random(i + 1), 4096));
  const commands = disks.map((_, i) => transfer('read', 0, 8, DATA + 0x10000 * i, i));
  assert.equal(
    commands.map((command) => driver.submit(command)),
    [true, false, true],
  );
  driver.kick();
  assert.is(controller.counters.commands - controller.counters.completions, 2);
  while (commands[0]?.ended === 0 || commands[2]?.ended === 0) {
    machine.advance(machine.nextDeadline());
    driver.interrupt();
  }
  run(commands[1] as TestCommand);
  for (const [i, command] of commands.entries()) {
    assert.is(command.status, 'ok');
    assert.ok(machine.memory.equals(DATA + 0x10000 * i, fill(new Random(i + 1), 4096)));
  }
});

test('an entry of 64 KiB, and a transfer of the largest size', async () => {
  const { machine, disks, run } = await attach();
  const bytes = fill(new Random(3), 4 * MIB);
  disks[0]?.write(0, bytes);
  const command = new TestCommand({ op: 'read', lba: 0, sectors: 8192, direction: 'read' });
  command.setSegments(
    Array.from({ length: 64 }, (_, i) => ({ address: DATA + 0x10000 * i, bytes: 0x10000 })),
  );
  run(command);
  assert.is(command.status, 'ok');
  assert.ok(machine.memory.equals(DATA, bytes));
});

test('a medium error is a check condition with the sector, and the drive goes on', async () => {
  const { machine, disks, run } = await attach();
  const disk = disks[0] as Disk;
  const bytes = fill(new Random(11), 4096);
  disk.write(0, bytes);
  machine.addFault({ disk, kind: 'error', first: 5, last: 5, operations: ['read'] });
  machine.addFault({ disk, kind: 'error', first: 40, last: 40, operations: ['write'], times: 1 });
  const bad = transfer('read', 0, 8, DATA);
  run(bad);
  const sense = parseSense(bad.sense);
  assert.is(bad.status, 'check-condition');
  assert.equal([sense.key, sense.code, sense.information], [codes.KEY_MEDIUM_ERROR, 0x1100, 5]);
  assert.is(bad.residual, 3 * 512);
  assert.ok(machine.memory.equals(DATA, bytes, 0, 5 * 512));
  machine.memory.writeBytes(DATA, bytes);
  const lost = transfer('write', 36, 8, DATA);
  run(lost);
  assert.equal([lost.status, parseSense(lost.sense).key], ['check-condition', 4]);
  const good = transfer('read', 0, 4, DATA);
  run(good);
  assert.is(good.status, 'ok');
  assert.equal(machine.guard.findings(), []);
});

test('a sector beyond 28 bits is reached, and named when it fails', async () => {
  const { machine, disks, run } = await attach();
  machine.addFault({ disk: disks[0] as Disk, kind: 'error', first: 8000, last: 8000 });
  const failed = transfer('read', 8000, 1, DATA);
  const beyond = transfer('read', 2 ** 30, 1, DATA);
  run(failed, beyond);
  assert.is(parseSense(failed.sense).information, 8000);
  assert.equal([beyond.status, parseSense(beyond.sense).key], ['check-condition', codes.KEY_ILLEGAL_REQUEST]);
});

test('memory that is not there never interrupts: given up, the drive is reset and goes on', async () => {
  const { driver, machine, controller, disks, run } = await attach({
    disks: [
      [0, 0],
      [0, 1],
    ],
  });
  const bad = transfer('read', 0, 8, 0x2000_0000);
  assert.ok(driver.submit(bad));
  driver.kick();
  machine.settle();
  assert.is(machine.irqLines, 0);
  assert.is(driver.interrupt(), false);
  assert.ok((controller.configRead(PCI_STATUS, 2) & 0x2000) !== 0);
  driver.abort(bad);
  assert.equal([bad.ended, bad.status], [1, 'aborted']);
  assert.equal(
    machine.guard.findings().map(({ rule }) => rule),
    ['dev-hole'],
  );
  for (const [i, disk] of disks.entries()) {
    disk.write(0, fill(new Random(i), 4096));
    const after = transfer('read', 0, 8, DATA, i);
    run(after);
    assert.is(after.status, 'ok');
    assert.ok(machine.memory.equals(DATA, fill(new Random(i), 4096)));
  }
});

test('abort and reset in the middle of a transfer end the commands, and leave the other channel alone', async () => {
  const { driver, machine, disks, run } = await attach({
    disks: [
      [0, 0],
      [1, 0],
    ],
  });
  machine.addFault({ disk: disks[0] as Disk, kind: 'delay', argument: 5e9, times: 2 });
  const slow = transfer('read', 0, 8, DATA);
  const other = transfer('read', 0, 8, DATA + 0x10000, 1);
  assert.ok(driver.submit(slow) && driver.submit(other));
  driver.kick();
  driver.abort(slow);
  assert.is(slow.status, 'aborted');
  for (let i = 0; i < 10 && other.ended === 0; i++) {
    machine.advance(machine.now() + 1e6);
    driver.interrupt();
  }
  assert.is(other.status, 'ok');
  const again = transfer('read', 0, 8, DATA);
  assert.ok(driver.submit(again));
  driver.kick();
  driver.reset();
  assert.equal([again.ended, again.status], [1, 'aborted']);
  const queued = transfer('read', 0, 8, DATA);
  assert.ok(driver.submit(queued));
  driver.abort(queued);
  assert.is(queued.status, 'aborted');
  const last = transfer('read', 0, 8, DATA);
  run(last);
  assert.is(last.status, 'ok');
  assert.equal(machine.guard.findings(), []);
});

test('a drive that was pulled out is no device any more', async () => {
  const { driver, controller, run } = await attach({
    disks: [
      [0, 0],
      [0, 1],
    ],
  });
  const open = transfer('read', 0, 8, DATA, 1);
  assert.ok(driver.submit(open));
  driver.kick();
  controller.detachDisk(0, 1);
  driver.abort(open);
  assert.is(open.ended, 1);
  const late = transfer('read', 0, 8, DATA, 1);
  run(late);
  assert.is(late.status, 'no-device');
  const good = transfer('read', 0, 8, DATA, 0);
  run(good);
  assert.is(good.status, 'ok');
  controller.detachDisk(0, 0);
  driver.reset();
  const gone = transfer('read', 0, 8, DATA, 0);
  run(gone);
  assert.is(gone.status, 'no-device');
});

test('flush, discard and the commands that the driver answers', async () => {
  const { disks, machine, run } = await attach();
  const disk = disks[0] as Disk;
  disk.write(0, new Uint8Array(MIB).fill(0xaa));
  const flush = new TestCommand({ op: 'flush' });
  const discard = new TestCommand({ op: 'discard', lba: 100, sectors: 500 });
  const large = new TestCommand({ op: 'discard', lba: 0, sectors: 2 ** 23 });
  run(flush, discard, large);
  assert.equal([flush.status, discard.status, large.status], ['ok', 'ok', 'check-condition']);
  assert.equal(disk.read(100 * 512, 500 * 512), new Uint8Array(500 * 512));
  assert.is(disk.read(99 * 512, 1)[0], 0xaa);
  const inquiry = scsi([codes.OP_INQUIRY, 0, 0, 0, 36, 0], 64);
  run(inquiry);
  assert.equal([inquiry.status, inquiry.residual], ['ok', 64 - 36]);
  assert.is(new TextDecoder().decode(machine.memory.readBytes(DATA + 8, 3)), 'ATA');
  const read = scsi([codes.OP_READ_10, 0, 0, 0, 0, 1, 0, 0, 2, 0], 2048);
  run(read);
  assert.equal([read.status, read.residual], ['ok', 1024]);
  const short = scsi([codes.OP_READ_10, 0, 0, 0, 0, 1, 0, 0, 8, 0], 1024);
  run(short);
  assert.is(short.status, 'check-condition');
  assert.equal(machine.guard.findings(), []);
});

test('memory that was unmapped too early, and a segment across 64 KiB, are found', async () => {
  const { machine, controller, driver, pump, disks } = await attach();
  disks[0]?.write(0, fill(new Random(1), 4096));
  const handle = machine.guard.map(controller, 0x600000, 4096, 'write');
  const early = transfer('read', 0, 8, 0x600000);
  assert.ok(driver.submit(early));
  driver.kick();
  machine.guard.unmap(handle);
  while (early.ended === 0) pump();
  machine.guard.map(controller, 0x70f000, 0x2000, 'write');
  const crossing = transfer('read', 0, 16, 0x70f000);
  assert.ok(driver.submit(crossing));
  driver.kick();
  while (crossing.ended === 0) pump();
  assert.equal(
    machine.guard.findings().map(({ rule, address }) => [rule, address]),
    [
      ['dev-after-unmap', 0x600000],
      ['dev-unmapped', 0x700000],
    ],
  );
});

test('detach gives all memory back and the controller is silent', async () => {
  const { driver, host, machine } = await attach({
    disks: [
      [0, 0],
      [1, 0],
    ],
  });
  const open = transfer('write', 0, 8, DATA);
  assert.ok(driver.submit(open));
  driver.kick();
  driver.detach();
  assert.is(open.status, 'aborted');
  machine.settle();
  assert.equal([host.allocated, machine.irqLines], [0, 0]);
});
