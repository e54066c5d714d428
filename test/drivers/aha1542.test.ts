import * as codes from '../../assembly/scsi/regs.ts';
import { attachAha1542 } from '../../src/drivers/aha1542.ts';
import type { Driver } from '../../src/drivers/driver.ts';
import { parseSense } from '../../src/drivers/scsi.ts';
import { Random } from '../../src/kernel/random.ts';
import { createMachine, type Disk, type DiskOptions, type Machine } from '../../src/machine/index.ts';
import type { AsyncMedium } from '../../src/media/index.ts';
import { assert, suite } from '../run/suite.ts';
import { TestCommand, TestHost } from './host.ts';

const test = suite('driver aha1542');

const DATA = 0x10000;
const DATA_BYTES = 0x60000;

interface Rig {
  machine: Machine;
  host: TestHost;
  driver: Driver;
  disk: Disk;
  /** Submits, kicks, and handles interrupts until every command has ended. */
  run(...commands: TestCommand[]): void;
}

async function attach(options: { profile?: string; disk?: DiskOptions } = {}): Promise<Rig> {
  const machine = await createMachine({ ram: 'small', flavour: 'debug', guard: { mappings: true } });
  const controller = machine.addController({ kind: 'aha1542', profile: options.profile ?? 'aha1542' });
  const disk = machine.addDisk({ bytes: 512 * 1024, ...options.disk });
  controller.attach(disk, 2);
  const host = new TestHost(machine, controller);
  const driver = attachAha1542(host);
  machine.guard.map(controller, DATA, DATA_BYTES, 'both');
  const pump = (): void => {
    machine.advance(machine.nextDeadline());
    if ((machine.irqLines & (1 << controller.line)) !== 0) driver.interrupt();
  };
  const run = (...commands: TestCommand[]): void => {
    for (const command of commands) assert.ok(driver.submit(command));
    driver.kick();
    while (commands.some((command) => command.ended === 0)) pump();
  };
  return { machine, host, driver, disk, run };
}

/** `bytes` bytes in up to 17 segments at random addresses that don't meet. */
function scatter(random: Random, bytes: number): { address: number; bytes: number }[] {
  const count = 1 + random.below(17);
  const segments = [];
  let left = bytes;
  for (let i = 0; i < count && left > 0; i++) {
    const most = Math.min(left, DATA_BYTES / 17 - 64);
    const n = i === count - 1 || left === 1 ? most : 1 + random.below(Math.min(most, 4096));
    segments.push({ address: DATA + Math.floor(DATA_BYTES / 17) * i + random.below(64), bytes: n });
    left -= n;
  }
  return segments;
}

for (const profile of ['aha1542', 'aha1542b']) {
  test(`finds the disk behind a ${profile}`, async () => {
    const { driver, machine } = await attach({ profile });
    assert.equal(driver.disks.length, 1);
    const [disk] = driver.disks;
    assert.is(disk?.sectors, 1024);
    assert.is(disk?.sectorBytes, 512);
    assert.is(disk?.model, 'BACKPLNE VIRTUAL DISK');
    assert.is(disk?.serial, 'BP00000001');
    assert.is(disk?.writeCache, true);
    assert.equal(machine.guard.findings(), []);
  });
}

for (const sectorBytes of [512, 4096] as const) {
  test(`random scatter lists arrive byte for byte, ${sectorBytes}-byte sectors`, async () => {
    const { machine, disk, driver, run } = await attach({ disk: { sectorBytes } });
    const random = new Random(sectorBytes);
    const sectors = disk.sectors;
    const image = new Uint8Array(disk.bytes);
    for (let round = 0; round < 150; round++) {
      const lba = random.below(sectors);
      const wanted = Math.min(1 + random.below(32), sectors - lba);
      const segments = scatter(random, wanted * sectorBytes);
      const total = segments.reduce((sum, { bytes }) => sum + bytes, 0);
      if (total < wanted * sectorBytes) continue;
      const op = random.below(2) === 0 ? 'read' : 'write';
      const command = new TestCommand({ op, lba, sectors: wanted }).setSegments(segments);
      let at = lba * sectorBytes;
      if (op === 'write') {
        for (const { address, bytes } of segments) {
          const data = Uint8Array.from({ length: bytes }, () => random.below(256));
          machine.memory.writeBytes(address, data);
          image.set(data, at);
          at += bytes;
        }
      }
      run(command);
      assert.is(command.status, 'ok');
      assert.is(command.residual, 0);
      at = lba * sectorBytes;
      for (const { address, bytes } of segments) {
        assert.ok(machine.memory.equals(address, image, at, bytes), `round ${round}`);
        at += bytes;
      }
    }
    assert.equal(disk.read(0, disk.bytes), image);
    assert.equal(machine.guard.findings(), []);
    driver.detach();
  });
}

test('sixteen commands are in flight after one doorbell, a seventeenth waits', async () => {
  const { machine, driver, disk } = await attach();
  disk.write(
    0,
    Uint8Array.from({ length: 17 * 512 }, (_, i) => i >>> 9),
  );
  const commands = Array.from({ length: 17 }, (_, i) =>
    new TestCommand({ op: 'read', lba: i, sectors: 1 }).setSegments([
      { address: DATA + i * 512, bytes: 512 },
    ]),
  );
  const before = driver.limits.queueDepth;
  const accepted = commands.map((command) => driver.submit(command));
  assert.is(accepted.filter((ok) => ok).length, before);
  const writes = machine.controllers[0]?.counters.registerWrites ?? 0;
  driver.kick();
  assert.is((machine.controllers[0]?.counters.registerWrites ?? 0) - writes, 1);
  while (commands.slice(0, 16).some((command) => command.ended === 0)) {
    machine.advance(machine.nextDeadline());
    driver.interrupt();
  }
  assert.ok(machine.memory.equals(DATA, disk.read(0, 16 * 512)));
  assert.equal(
    commands.map((command) => command.ended),
    [...new Array(16).fill(1), 0],
  );
});

test('a medium error reports sense with the sector, and what was moved before it', async () => {
  const { machine, disk, run } = await attach();
  machine.addFault({ disk, kind: 'error', operations: ['read'], first: 12, last: 12, times: 1 });
  const command = new TestCommand({ op: 'read', lba: 8, sectors: 8 });
  command.setSegments([{ address: DATA, bytes: 4096 }]);
  run(command);
  assert.is(command.status, 'check-condition');
  assert.equal(parseSense(command.sense), { key: 3, code: codes.ASC_READ_ERROR, information: 12 });
  assert.is(command.residual, 4 * 512);
});

test('a write error reports sense with the sector', async () => {
  const { machine, disk, run } = await attach();
  machine.addFault({ disk, kind: 'error', operations: ['write'], first: 9, last: 9 });
  const command = new TestCommand({ op: 'write', lba: 8, sectors: 2 });
  command.setSegments([{ address: DATA, bytes: 1024 }]);
  run(command);
  assert.is(command.status, 'check-condition');
  assert.equal(parseSense(command.sense), { key: 3, code: codes.ASC_WRITE_ERROR, information: 9 });
});

test('a write to a disk that is read-only is refused as write protected', async () => {
  const { run } = await attach({ disk: { readOnly: true } });
  const command = new TestCommand({ op: 'write', lba: 0, sectors: 1 });
  command.setSegments([{ address: DATA, bytes: 512 }]);
  run(command);
  assert.equal(parseSense(command.sense), { key: 7, code: codes.ASC_WRITE_PROTECTED, information: -1 });
});

test('flush reaches the medium, discard leaves zeroes', async () => {
  const { disk, run } = await attach();
  disk.write(0, new Uint8Array(4096).fill(7));
  const before = disk.counters.flushes;
  run(new TestCommand({ op: 'flush' }));
  assert.is(disk.counters.flushes, before + 1);
  const discard = new TestCommand({ op: 'discard', lba: 2, sectors: 3 });
  run(discard);
  assert.is(discard.status, 'ok');
  const expected = new Uint8Array(4096).fill(7).fill(0, 1024, 2560);
  assert.equal(disk.read(0, 4096), expected);
});

test('FUA has a flush follow the write', async () => {
  const { disk, run } = await attach();
  const write = (fua: boolean): TestCommand =>
    new TestCommand({ op: 'write', lba: 0, sectors: 1, fua }).setSegments([{ address: DATA, bytes: 512 }]);
  const before = disk.counters.flushes;
  run(write(false));
  assert.is(disk.counters.flushes, before);
  run(write(true));
  assert.is(disk.counters.flushes, before + 1);
});

test('a raw command that gets less than it asked for ends well, with the residual', async () => {
  const { run, machine } = await attach();
  const command = new TestCommand({ op: 'scsi', direction: 'read', cdbLength: 6 });
  command.cdb.set([codes.OP_INQUIRY, 0, 0, 0, 255, 0]);
  command.setSegments([{ address: DATA, bytes: 255 }]);
  run(command);
  assert.is(command.status, 'ok');
  assert.is(command.residual, 255 - codes.INQUIRY_BYTES);
  assert.is(machine.memory.read8(DATA + 4), codes.INQUIRY_BYTES - 5);
});

test('an aborted command ends as such, the one behind it goes on', async () => {
  const { machine, driver } = await attach({ disk: { latencyNs: 1e6 } });
  const read = (lba: number): TestCommand =>
    new TestCommand({ op: 'read', lba, sectors: 1 }).setSegments([{ address: DATA + lba * 512, bytes: 512 }]);
  const [first, second] = [read(0), read(1)];
  driver.submit(first);
  driver.submit(second);
  driver.kick();
  machine.advance(machine.now() + 1000);
  driver.abort(first);
  driver.interrupt();
  assert.is(first.status, 'aborted');
  assert.is(first.ended, 1);
  assert.is(second.ended, 0);
  machine.settle();
  driver.interrupt();
  assert.is(second.status, 'ok');
  assert.is(second.ended, 1);
});

test('a reset ends every open command as aborted, and the board works afterwards', async () => {
  const { machine, driver, disk, run } = await attach({ disk: { latencyNs: 1e6 } });
  const reads = Array.from({ length: 5 }, (_, i) =>
    new TestCommand({ op: 'read', lba: i, sectors: 1 }).setSegments([{ address: DATA, bytes: 512 }]),
  );
  for (const command of reads) driver.submit(command);
  driver.kick();
  machine.advance(machine.now() + 1000);
  driver.reset();
  assert.equal(
    reads.map((command) => [command.status, command.ended]),
    reads.map(() => ['aborted', 1]),
  );
  disk.write(0, new Uint8Array(512).fill(0x5a));
  const again = new TestCommand({ op: 'read', lba: 0, sectors: 1 }).setSegments([
    { address: DATA, bytes: 512 },
  ]);
  run(again);
  assert.is(again.status, 'ok');
  assert.is(machine.memory.read8(DATA + 511), 0x5a);
});

/** Bytes that come and go later, and a failure on demand. */
class SlowMedium implements AsyncMedium {
  readonly sync = false;
  readonly name = 'slow';
  readonly readOnly = false;
  readonly data = new Uint8Array(64 * 1024);
  readonly bytes = this.data.length;
  failing = false;

  async read(offset: number, buffer: Uint8Array): Promise<number> {
    await this.#later();
    buffer.set(this.data.subarray(offset, offset + buffer.length));
    return buffer.length;
  }
  async write(offset: number, buffer: Uint8Array): Promise<number> {
    await this.#later();
    this.data.set(buffer, offset);
    return buffer.length;
  }
  async flush(): Promise<void> {
    await this.#later();
  }
  async discard(offset: number, bytes: number): Promise<void> {
    await this.#later();
    this.data.fill(0, offset, offset + bytes);
  }
  async close(): Promise<void> {}

  async #later(): Promise<void> {
    await new Promise<void>((resolve) => {
      setImmediate(resolve);
    });
    if (this.failing) throw new Error('broken');
  }
}

test('a medium that answers later moves the same bytes, and its failures become sense data', async () => {
  const medium = new SlowMedium();
  const { machine, driver } = await attach({ disk: { medium } });
  const finish = async (command: TestCommand): Promise<TestCommand> => {
    driver.submit(command);
    driver.kick();
    await machine.settleAsync();
    driver.interrupt();
    assert.is(command.ended, 1);
    return command;
  };
  const segments = [
    { address: DATA + 1, bytes: 1000 },
    { address: DATA + 0x2000, bytes: 24 },
  ];
  const at = { lba: 4, sectors: 2 };
  machine.memory.fill(DATA + 1, 0x31, 1000);
  machine.memory.fill(DATA + 0x2000, 0x32, 24);
  const write = await finish(new TestCommand({ op: 'write', ...at, fua: true }).setSegments(segments));
  assert.is(write.status, 'ok');
  const expected = new Uint8Array(1024).fill(0x31, 0, 1000).fill(0x32, 1000);
  assert.equal(medium.data.slice(2048, 3072), expected);
  machine.memory.fill(DATA, 0, 0x3000);
  const read = await finish(new TestCommand({ op: 'read', ...at }).setSegments(segments));
  assert.is(read.status, 'ok');
  assert.ok(machine.memory.equals(DATA + 1, expected, 0, 1000));
  assert.is((await finish(new TestCommand({ op: 'discard', ...at }))).status, 'ok');
  assert.is(medium.data[2048], 0);
  medium.failing = true;
  const failed = await finish(new TestCommand({ op: 'write', ...at }).setSegments(segments));
  assert.is(failed.status, 'check-condition');
  assert.is(parseSense(failed.sense).code, codes.ASC_WRITE_ERROR);
});

test('detach gives all memory back and leaves the line low', async () => {
  const { machine, driver, host } = await attach();
  driver.detach();
  assert.is(host.allocated, 0);
  assert.is(machine.irqLines, 0);
});

test('a disk that is pulled fails the open commands, and then is no device', async () => {
  const { machine, driver } = await attach({ disk: { latencyNs: 1e6 } });
  const read = (): TestCommand =>
    new TestCommand({ op: 'read', lba: 0, sectors: 1 }).setSegments([{ address: DATA, bytes: 512 }]);
  const [open, late] = [read(), read()];
  driver.submit(open);
  driver.kick();
  machine.controllers[0]?.detachDisk(2);
  driver.interrupt();
  assert.is(open.status, 'device-error');
  driver.submit(late);
  driver.kick();
  machine.settle();
  driver.interrupt();
  assert.is(late.status, 'no-device');
});
