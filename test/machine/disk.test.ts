// What a disk calls itself, and a disk whose size changes while the machine runs: on every controller.

import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as aha from '../../assembly/aha1542/regs.ts';
import * as scsi from '../../assembly/scsi/regs.ts';
import { attachDriver } from '../../src/drivers/index.ts';
import { attachNvme, type NvmeOptions } from '../../src/drivers/nvme.ts';
import type { NvmeEvent } from '../../src/drivers/nvme-events.ts';
import { attachVirtioBlk } from '../../src/drivers/virtio-blk.ts';
import { createMachine, type DiskOptions, type Machine, Snapshot } from '../../src/machine/index.ts';
import { asyncMedium, openFile, ramMedium } from '../../src/media/index.ts';
import * as aha1542 from '../aha1542/board.ts';
import { ata, DATA, Hba, wordsOf } from '../ahci/hba.ts';
import { makeRunner, TestCommand, TestHost } from '../drivers/host.ts';
import { DATA as CHIP_DATA, Chip } from '../lsi53c895a/chip.ts';
import { Board as NvmeBoard, regs as nvme } from '../nvme/board.ts';
import { assert, suite } from '../run/suite.ts';
import { Rig, regs as virtio } from '../virtio-blk/rig.ts';

const test = suite('machine: disk');

const KIB = 1024;
const NAMES = { serial: 'S-42', model: 'A model whose name is rather long', firmware: 'FW7.01' };

async function machineWith(kind: string, options: DiskOptions) {
  const machine = await createMachine({ flavour: 'debug', ram: 'small', guard: false, diskBytes: 512 * KIB });
  const controller = machine.addController({ kind });
  const disk = machine.addDisk(options);
  controller.attach(disk, 0);
  const host = new TestHost(machine, controller);
  return { machine, controller, disk, host };
}

/** Reads sector `lba` through a driver into 10000h. */
function reader(machine: Machine, run: (...commands: TestCommand[]) => void): (lba: number) => string {
  return (lba) => {
    const command = new TestCommand({ op: 'read', direction: 'read', lba, sectors: 1 });
    run(command.setSegments([{ address: 0x70000, bytes: 512 }]));
    return command.status === 'ok' ? String(machine.memory.read8(0x70000)) : command.status;
  };
}

for (const kind of ['ahci', 'piix-ide', 'nvme']) {
  test(`${kind}: serial number and model are those that the disk was given`, async () => {
    const { host } = await machineWith(kind, { bytes: 64 * KIB, ...NAMES });
    const disk = attachDriver(host).disks[0];
    assert.equal([disk?.serial, disk?.model], [NAMES.serial, NAMES.model]);
  });
}

test('IDENTIFY DEVICE has the three texts in full length, and its bytes add up to zero', async () => {
  const hba = await Hba.create();
  const names = { serial: '01234567890123456789', model: 'm'.repeat(40), firmware: '12345678' };
  hba.controller.attach(hba.machine.addDisk({ bytes: 64 * KIB, ...names }), 0);
  hba.machine.settle();
  hba.start();
  hba.execute({ command: ata.ATA_IDENTIFY }, [{ address: DATA, bytes: 512 }]);
  const bytes = hba.machine.memory.readBytes(DATA, 512);
  const text = (from: number, to: number): string =>
    wordsOf(bytes)
      .slice(from, to)
      .map((word) => String.fromCharCode(word >> 8, word & 0xff))
      .join('');
  assert.equal([text(10, 20), text(23, 27), text(27, 47)], [names.serial, names.firmware, names.model]);
  assert.is(bytes.reduce((sum, byte) => sum + byte, 0) & 0xff, 0);
});

test('Identify Controller is of the first namespace, until other firmware is active', async () => {
  const board = await NvmeBoard.create({ disks: 2 });
  for (const [place, serial] of [
    [0, 'first'],
    [1, 'second'],
  ] as const)
    board.controller.attach(board.machine.addDisk({ bytes: 64 * KIB, ...NAMES, serial }), place);
  const text = (at: number, bytes: number): string =>
    String.fromCharCode(...board.identify(1).subarray(at, at + bytes)).trimEnd();
  assert.equal([text(4, 20), text(24, 40), text(64, 8)], ['first', NAMES.model, NAMES.firmware]);
  board.controller.detachDisk(0);
  assert.is(text(4, 20), 'second');
  board.machine.memory.writeBytes(0x800000, new TextEncoder().encode('BKFW2.0     '));
  board.admin({ opcode: nvme.NVME_ADMIN_FIRMWARE_DOWNLOAD, prp1: 0x800000, dwords: { 10: 2 } });
  board.admin({ opcode: nvme.NVME_ADMIN_FIRMWARE_COMMIT, dwords: { 10: (3 << 3) | 1 } });
  assert.is(text(64, 8), '2.0');
});

test('INQUIRY has what fits, pages 80h and 83h the serial number', async () => {
  const board = await aha1542.Board.create({ disk: { bytes: 64 * KIB, ...NAMES } });
  const inquiry = (page: number | null): string => {
    const cdb = [scsi.OP_INQUIRY, page === null ? 0 : 1, page ?? 0, 0, 255, 0];
    const direction = aha.DIRECTION_IN;
    board.machine.memory.fill(aha1542.DATA, 0, 256);
    board.execute({ cdb, direction, dataLength: 255, dataPointer: aha1542.DATA });
    return String.fromCharCode(...board.machine.memory.readBytes(aha1542.DATA, 96));
  };
  assert.equal([inquiry(null).slice(16, 32), inquiry(null).slice(32, 36)], ['A model whose na', 'FW7.']);
  assert.equal([inquiry(0x80).charCodeAt(3), inquiry(0x80).slice(4, 8)], [4, NAMES.serial]);
  const page = inquiry(0x83);
  assert.equal([page.charCodeAt(7), page.slice(8, 36)], [28, `BACKPLNEA model whose na${NAMES.serial}`]);
  // The second designator follows at once.
  assert.equal([page.charCodeAt(3), page.charCodeAt(37)], [4 + 28 + 12, 3]);
});

test('GET_ID is the serial number', async () => {
  const { host } = await machineWith('virtio-blk', { bytes: 64 * KIB, serial: '12345678901234567890' });
  assert.is(attachVirtioBlk(host).disks[0]?.serial, '12345678901234567890');
});

test('a text that is too long, or no ASCII, is refused by its field and limit', async () => {
  const { machine } = await machineWith('ahci', { bytes: 64 * KIB });
  for (const [field, most] of [
    ['serial', 20],
    ['model', 40],
    ['firmware', 8],
  ] as const) {
    const message = new RegExp(`^${field} has ${most + 1} characters; at most ${most} fit$`);
    assert.throws(() => machine.addDisk({ bytes: 512, [field]: 'x'.repeat(most + 1) }), message);
    assert.throws(
      () => machine.addDisk({ bytes: 512, [field]: 'ü' }),
      new RegExp(`^${field} must be printable ASCII$`),
    );
  }
  assert.is(machine.disks.length, 1);
});

test('a RAM disk grows by zeroes, within its memory and beyond, and shrinks', async () => {
  const { machine, disk } = await machineWith('ahci', { bytes: 64 * KIB });
  disk.write(0, new Uint8Array(64 * KIB).fill(7));
  disk.resize(32 * KIB);
  disk.resize(48 * KIB);
  assert.equal([disk.read(32 * KIB - 1, 2).join(), disk.sectors], ['7,0', 96]);
  disk.resize(128 * KIB);
  assert.equal([disk.read(32 * KIB - 1, 2).join(), disk.read(128 * KIB - 1, 1)[0]], ['7,0', 0]);
  assert.throws(() => disk.resize(100), /multiple of the sector/);
  assert.throws(() => disk.resize(0), /multiple of the sector/);
  assert.throws(() => disk.resize(2 ** 31), /raise diskBytes/);
  assert.is(disk.bytes, 128 * KIB);
  assert.throws(() => machine.addDisk({ bytes: 512, serial: 'x'.repeat(21) }), /serial/);
});

/** A state goes into another machine on the image when that is as large as the disk was, whatever it was made with. */
async function fitsAnother(path: string): Promise<void> {
  const open = async () => machineWith('ahci', { medium: await openFile(path) });
  const { machine, disk } = await open();
  const small = machine.save();
  disk.resize(256 * KIB);
  const large = machine.save();
  const other = await open();
  other.machine.restore(large);
  assert.is(other.disk.bytes, 256 * KIB);
  assert.throws(
    () => other.machine.restore(small),
    /there disk 1, 131072 bytes on a medium .*; here disk 1, 262144/,
  );
  await other.disk.medium?.close?.();
  await disk.medium?.close?.();
}

test('a medium of the host grows where it can', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'backplane-'));
  try {
    const path = join(folder, 'image');
    const file = await openFile(path, { create: 64 * KIB });
    for (const medium of [ramMedium(64 * KIB), asyncMedium(ramMedium(64 * KIB)), file]) {
      const { disk, machine } = await machineWith('ahci', { medium });
      disk.resize(128 * KIB);
      assert.equal([disk.bytes, medium.bytes], [128 * KIB, 128 * KIB]);
      assert.throws(() => disk.resize(64 * KIB), /can only grow/);
      assert.is(machine.disks[0]?.bytes, 128 * KIB);
    }
    assert.is(statSync(path).size, 128 * KIB);
    file.close();
    await fitsAnother(path);
    const { grow: _, ...fixed } = asyncMedium(ramMedium(512));
    const { disk } = await machineWith('ahci', { medium: { ...fixed, bytes: 512 } });
    assert.throws(() => disk.resize(1024), /cannot grow/);
    const short = ramMedium(64 * KIB);
    const shrunk: number[] = [];
    const shrinks = Object.assign(short, { shrink: (bytes: number) => void shrunk.push(bytes) });
    const { disk: shorter } = await machineWith('ahci', { medium: shrinks });
    shorter.resize(32 * KIB);
    assert.equal([shrunk, shorter.bytes], [[32 * KIB], 32 * KIB]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('what was discarded at the end of a sparse medium stays so when it grows', () => {
  const medium = ramMedium(65536);
  medium.writev(0, [new Uint8Array(65536).fill(1)]);
  medium.discard(0, 65536);
  medium.grow?.(2 ** 22);
  medium.writev(2 ** 22 - 1, [Uint8Array.of(5)]);
  medium.discard(2 ** 21, 2 ** 20);
  const bytes = new Uint8Array(2);
  medium.readv(2 ** 22 - 2, [bytes]);
  assert.equal([...bytes], [0, 5]);
});

test('SCSI: CAPACITY DATA HAS CHANGED meets the next command, once, and a reset goes before it', async () => {
  const board = await aha1542.Board.create({ disk: { bytes: 64 * KIB } });
  const ready = (): number => aha1542.ascOf(board.execute({ cdb: [0, 0, 0, 0, 0, 0] }).sense);
  assert.is(ready(), 0);
  board.disk.resize(32 * KIB);
  assert.is(ready(), scsi.ASC_CAPACITY_CHANGED);
  const capacity = {
    cdb: [0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    direction: aha.DIRECTION_IN,
    dataLength: 8,
    dataPointer: aha1542.DATA,
  };
  assert.is(board.execute(capacity).target, 0);
  assert.equal([...board.machine.memory.readBytes(aha1542.DATA, 4)], [0, 0, 0, 63]);
});

test('SCSI on the LSI chip: the same, for the unit whose disk it is', async () => {
  const chip = await Chip.create({ targets: [0, 3] });
  const ready = (target: number): number => chip.execute({ target, cdb: [0, 0, 0, 0, 0, 0] }).status;
  // The attention of power on.
  for (const target of [0, 3]) ready(target);
  chip.disks[1]?.resize(2 ** 19);
  assert.equal(
    [ready(0), ready(3), ready(3)],
    [scsi.STATUS_GOOD, scsi.STATUS_CHECK_CONDITION, scsi.STATUS_GOOD],
  );
  chip.disks[1]?.resize(2 ** 18);
  const sense = {
    target: 3,
    cdb: [3, 0, 0, 0, 18, 0],
    direction: 'in',
    segments: [[CHIP_DATA, 18]],
  } as const;
  assert.is(chip.execute(sense).status, scsi.STATUS_GOOD);
  const { memory } = chip.machine;
  assert.is((memory.read8(CHIP_DATA + 12) << 8) | memory.read8(CHIP_DATA + 13), scsi.ASC_CAPACITY_CHANGED);
});

test('ATA: the next IDENTIFY has the new size, and so has the range of commands', async () => {
  const hba = await Hba.create();
  const block = [{ address: DATA, bytes: 512 }];
  hba.disk.resize(2 ** 19);
  hba.execute({ command: ata.ATA_IDENTIFY }, block);
  assert.is(wordsOf(hba.machine.memory.readBytes(DATA, 512))[100], 1024);
  assert.is(hba.execute({ command: ata.ATA_READ_DMA_EXT, lba: 1023, count: 1 }, block), ata.ATA_STATUS_GOOD);
  const beyond = hba.execute({ command: ata.ATA_READ_DMA_EXT, lba: 1024, count: 1 }, block);
  assert.is(beyond & ata.ATA_STATUS_ERR, ata.ATA_STATUS_ERR);
});

test('virtio: a configuration interrupt, another generation, the new capacity', async () => {
  const rig = await Rig.create();
  rig.start();
  const { disk } = rig;
  const before = rig.read(virtio.VIRTIO_CONFIG_GENERATION, 1);
  disk.resize(disk.bytes / 2);
  assert.is(rig.isr(), virtio.VIRTIO_ISR_CONFIG | virtio.VIRTIO_ISR_QUEUE);
  assert.is(rig.config(virtio.BLK_CAPACITY), disk.sectors);
  assert.ok(rig.read(virtio.VIRTIO_CONFIG_GENERATION, 1) !== before);
});

for (const vector of [undefined, 0x40]) {
  test(`virtio driver: it notes the new size (${vector === undefined ? 'by the line' : 'by messages'})`, async () => {
    const { machine, controller, host, disk } = await machineWith('virtio-blk', { bytes: 64 * KIB });
    const driver = attachVirtioBlk(host, vector === undefined ? {} : { vector });
    const { run } = makeRunner(machine, controller, driver, vector !== undefined);
    const read = reader(machine, run);
    disk.resize(128 * KIB);
    assert.is(read(255), '0');
    while (machine.takeMsi() >= 0) driver.interrupt();
    if (vector === undefined) driver.interrupt();
    assert.is(driver.disks[0]?.sectors, 256);
  });
}

async function nvmeDriver(options: NvmeOptions = {}) {
  const events: NvmeEvent[] = [];
  const made = await machineWith('nvme', { bytes: 64 * KIB });
  const driver = attachNvme(made.host, {
    ...options,
    queues: 1,
    depth: 16,
    event: (event) => {
      events.push(event);
    },
  });
  const { run, pump } = makeRunner(made.machine, made.controller, driver, false);
  const settle = (): void => {
    while (Number.isFinite(made.machine.nextDeadline())) pump();
    pump();
  };
  return { ...made, driver, events, run, settle };
}

test('NVMe driver: a notice of a namespace is told, its log read, and the new size noted, each time', async () => {
  const { machine, controller, disk, driver, events, run, settle } = await nvmeDriver();
  const namespaces = {
    type: 'notice',
    info: nvme.NVME_EVENT_NAMESPACE,
    log: nvme.NVME_LOG_CHANGED_NAMESPACES,
  };
  for (const bytes of [128 * KIB, 32 * KIB, 96 * KIB]) {
    disk.resize(bytes);
    settle();
    assert.is(driver.disks[0]?.sectors, bytes / 512);
  }
  assert.equal(events, [namespaces, namespaces, namespaces]);
  assert.is(reader(machine, run)(191), '0');
  driver.reset();
  disk.resize(64 * KIB);
  settle();
  assert.is(driver.disks[0]?.sectors, 128);
  // A doorbell that no queue has.
  controller.write32(0, nvme.NVME_DOORBELLS + 8 * 9, 1);
  settle();
  assert.equal(events[4], {
    type: 'error',
    info: nvme.NVME_EVENT_INVALID_DOORBELL,
    log: nvme.NVME_LOG_ERROR,
  });
  controller.write32(0, nvme.NVME_DOORBELLS + 8 * 9, 1);
  settle();
  assert.is(events.length, 6);
});

test('NVMe: without the notice switched on a new size is in Identify alone', async () => {
  const board = await NvmeBoard.create();
  board.push(0, { opcode: nvme.NVME_ADMIN_ASYNC_EVENT });
  board.ring(0);
  board.disk.resize(2 ** 19);
  board.machine.settle();
  assert.equal(board.take(0), []);
  assert.is(new DataView(board.identify(0, 1).buffer).getUint32(0, true), 1024);
});

test('a snapshot has the size and the bytes that a disk had, before it grew and afterwards', async () => {
  const { machine, disk } = await machineWith('nvme', { bytes: 64 * KIB, serial: 'S' });
  disk.write(100, Uint8Array.of(1, 2, 3));
  const before = machine.save();
  disk.resize(128 * KIB);
  disk.write(120 * KIB, Uint8Array.of(4));
  const after = machine.save();
  disk.write(100, Uint8Array.of(9, 9, 9, 9));
  disk.write(120 * KIB, Uint8Array.of(9));
  machine.restore(after);
  assert.equal([disk.read(100, 4).join(), disk.read(120 * KIB, 1)[0]], ['1,2,3,0', 4]);
  machine.restore(before);
  assert.equal([disk.bytes, disk.read(100, 4).join()], [64 * KIB, '1,2,3,0']);
  // What it gets again is zeroes again.
  disk.resize(192 * KIB);
  assert.equal(
    [disk.read(64 * KIB, 128 * KIB), disk.read(100, 3).join()],
    [new Uint8Array(128 * KIB), '1,2,3'],
  );
  disk.write(191 * KIB, Uint8Array.of(5));
  machine.restore(after);
  assert.equal([disk.bytes, disk.read(120 * KIB, 1)[0]], [128 * KIB, 4]);
  const { machine: other, disk: its } = await machineWith('nvme', { bytes: 64 * KIB, serial: 'S' });
  other.restore(Snapshot.fromBytes(after.toBytes()));
  assert.equal([its.bytes, its.read(100, 4).join(), its.read(120 * KIB, 1)[0]], [128 * KIB, '1,2,3,0', 4]);
  other.restore(before);
  assert.is(its.bytes, 64 * KIB);
});

test('a snapshot has the size of a medium in memory that grew', async () => {
  const medium = ramMedium(64 * KIB);
  const { machine, disk } = await machineWith('nvme', { medium });
  medium.writev(0, [Uint8Array.of(7)]);
  const before = machine.save();
  disk.resize(256 * KIB);
  medium.writev(200 * KIB, [Uint8Array.of(8)]);
  const after = Snapshot.fromBytes(machine.save().toBytes());
  machine.restore(before);
  assert.equal([disk.bytes, medium.bytes], [64 * KIB, 64 * KIB]);
  machine.restore(after);
  const byte = new Uint8Array(1);
  medium.readv(200 * KIB, [byte]);
  assert.equal([disk.bytes, medium.bytes, byte[0]], [256 * KIB, 256 * KIB, 8]);
});
