// A disk, or what its blocks are, changes while commands are on their way: on every controller the command ends with the
// status that its specification has for that, nothing lies in memory or on the disk beyond the new end, and the next
// command works.

import * as aha from '../../assembly/aha1542/regs.ts';
import * as scsi from '../../assembly/scsi/regs.ts';
import type { Disk, DiskOptions, Machine } from '../../src/machine/index.ts';
import { ramMedium } from '../../src/media/index.ts';
import { DATA as BOARD_DATA, Board, rw10 } from '../aha1542/board.ts';
import { DATA as HBA_DATA, Hba, regs as hba } from '../ahci/hba.ts';
import { DATA as CHIP_DATA, Chip, readTen, writeTen } from '../lsi53c895a/chip.ts';
import { blocks, DATA as NVME_DATA, Board as NvmeBoard, regs as nvme, pattern } from '../nvme/board.ts';
import { ata, DATA as IDE_DATA, Ide, regs as ide } from '../piix-ide/ide.ts';
import { assert, suite } from '../run/suite.ts';
import { Rig, DATA as VIRTIO_DATA, regs as virtio } from '../virtio-blk/rig.ts';
import { meanwhile } from './meanwhile.ts';

const test = suite('machine: changes in mid-transfer');

const SECTOR = 512;
const SECTORS = 256;
const LBA = 120;
const COUNT = 16;
/** Where the disk ends after it has shrunk: four sectors into the transfer. */
const END = 124;
const BYTES = COUNT * SECTOR;
const KEPT = (END - LBA) * SECTOR;
const UNTOUCHED = 0xee;
const content = pattern(SECTORS * SECTOR, 4);

interface Way {
  readonly machine: Machine;
  readonly disk: Disk;
  /** Where data lies in memory. */
  readonly at: number;
  /** Reads or writes COUNT sectors from LBA on; how that ended. */
  move(reads: boolean): unknown;
  /** What move() returns for a range that is not all on the disk any more. */
  readonly beyond: unknown;
  readonly good: unknown;
}

const senseOf = (bytes: Uint8Array): number[] => [
  (bytes[2] ?? 0) & 15,
  ((bytes[12] ?? 0) << 8) | (bytes[13] ?? 0),
  bytes[6] ?? 0,
];
/** LOGICAL BLOCK ADDRESS OUT OF RANGE, with the first block that is (SBC-2 4.13.2). */
const OUT_OF_RANGE = [scsi.KEY_ILLEGAL_REQUEST, scsi.ASC_LBA_RANGE, END];
const diskBytes = SECTORS * SECTOR;

const WAYS: Readonly<Record<string, (disk: DiskOptions) => Promise<Way>>> = {
  async aha1542(disk) {
    const board = await Board.create({ disk });
    const move = (reads: boolean): unknown => {
      const cdb = rw10(reads ? scsi.OP_READ_10 : scsi.OP_WRITE_10, LBA, COUNT);
      const direction = reads ? aha.DIRECTION_IN : aha.DIRECTION_OUT;
      const { target, sense } = board.execute({
        cdb,
        direction,
        dataLength: BYTES,
        dataPointer: BOARD_DATA,
      });
      return target === 0 ? [] : senseOf(sense);
    };
    return { machine: board.machine, disk: board.disk, at: BOARD_DATA, move, beyond: OUT_OF_RANGE, good: [] };
  },
  async 'piix-ide by DMA'() {
    const board = await Ide.create({ diskBytes });
    const move = (reads: boolean): unknown => {
      const command = reads ? ata.ATA_READ_DMA_EXT : ata.ATA_WRITE_DMA_EXT;
      const task = { command, lba: LBA, count: COUNT, wide: true };
      board.dma(task, reads, [{ address: IDE_DATA, bytes: BYTES }]);
      return board.registers().slice(0, 3);
    };
    // ATA8-ACS 7.24: the error, and the address of the first sector with it.
    const beyond = [ata.ATA_ERROR_IDNF, COUNT, END];
    const disk = board.disks[0] as Disk;
    return { machine: board.machine, disk, at: IDE_DATA, move, beyond, good: [0, COUNT, LBA] };
  },
  async 'piix-ide by PIO'() {
    const board = await Ide.create({ diskBytes });
    const { memory } = board.machine;
    const move = (reads: boolean): unknown => {
      board.send({ command: reads ? ata.ATA_READ_SECTORS : ata.ATA_WRITE_SECTORS, lba: LBA, count: COUNT });
      if (reads) board.machine.settle();
      for (let i = 0; (board.read(ide.IDE_STATUS) & ata.ATA_STATUS_DRQ) !== 0; i++) {
        const at = IDE_DATA + i * SECTOR;
        if (reads) memory.writeBytes(at, board.take(SECTOR));
        else board.put(memory.readBytes(at, SECTOR));
        board.machine.settle();
      }
      return board.registers().slice(0, 3);
    };
    const beyond = [ata.ATA_ERROR_IDNF, COUNT, END];
    const disk = board.disks[0] as Disk;
    return { machine: board.machine, disk, at: IDE_DATA, move, beyond, good: [0, COUNT, LBA] };
  },
  async ahci() {
    const board = await Hba.create({ diskBytes });
    const move = (reads: boolean): unknown => {
      const command = reads ? ata.ATA_READ_DMA_EXT : ata.ATA_WRITE_DMA_EXT;
      const prds = [
        { address: HBA_DATA, bytes: 3000 },
        { address: HBA_DATA + 3000, bytes: BYTES - 3000 },
      ];
      board.restart();
      const status = board.execute({ command, lba: LBA, count: COUNT }, prds);
      return [status & 0xffff, board.frame(hba.AHCI_RFIS_REGISTER, 20)[4]];
    };
    const beyond = [(ata.ATA_ERROR_IDNF << 8) | ata.ATA_STATUS_GOOD | ata.ATA_STATUS_ERR, END];
    const good = [ata.ATA_STATUS_GOOD, LBA];
    return { machine: board.machine, disk: board.disk, at: HBA_DATA, move, beyond, good };
  },
  async nvme() {
    const board = await NvmeBoard.create({ diskBytes });
    const move = (reads: boolean): unknown =>
      board.io(blocks(reads ? nvme.NVME_READ : nvme.NVME_WRITE, LBA, COUNT, NVME_DATA, NVME_DATA + 4096))
        .status;
    const { machine, disk } = board;
    // NVM Express 1.4, 4.6.1.2.2.
    return { machine, disk, at: NVME_DATA, move, beyond: nvme.NVME_LBA_RANGE, good: nvme.NVME_SUCCESS };
  },
  async 'virtio-blk'(disk) {
    const board = await Rig.create({ disk });
    const move = (reads: boolean): unknown =>
      board.run(reads ? virtio.BLK_T_IN : virtio.BLK_T_OUT, LBA, [
        { address: VIRTIO_DATA, bytes: BYTES, write: reads },
      ]);
    const { machine } = board;
    return {
      machine,
      disk: board.disk,
      at: VIRTIO_DATA,
      move,
      beyond: virtio.BLK_S_IOERR,
      good: virtio.BLK_S_OK,
    };
  },
  async lsi53c895a() {
    const chip = await Chip.create({ diskBytes });
    chip.clearAttention();
    const { memory } = chip.machine;
    const move = (reads: boolean): unknown => {
      const cdb = (reads ? readTen : writeTen)(LBA, COUNT);
      const segments = [
        [CHIP_DATA, 1000],
        [CHIP_DATA + 1000, BYTES - 1000],
      ] as const;
      const { status } = chip.execute({ cdb, direction: reads ? 'in' : 'out', segments });
      if (status === scsi.STATUS_GOOD) return [];
      const at = CHIP_DATA + 0x8000;
      chip.execute({ cdb: [scsi.OP_REQUEST_SENSE, 0, 0, 0, 18, 0], segments: [[at, 18]] });
      return senseOf(memory.readBytes(at, 18));
    };
    const disk = chip.disks[0] as Disk;
    return { machine: chip.machine, disk, at: CHIP_DATA, move, beyond: OUT_OF_RANGE, good: [] };
  },
};

/** Has `act` done while the next request to the disk is under way. */
function inTransfer({ machine, disk }: Pick<Way, 'machine' | 'disk'>, act: () => void): void {
  const requests = (): number => disk.counters.reads + disk.counters.writes;
  const before = requests();
  meanwhile(machine, () => requests() !== before, act);
}

for (const [name, open] of Object.entries(WAYS)) {
  test(`${name}: a read below which the disk shrinks brings what is left, and names the first sector that is not`, async () => {
    const way = await open({ bytes: diskBytes });
    const { machine, disk, at } = way;
    disk.write(0, content);
    machine.memory.fill(at, UNTOUCHED, BYTES);
    inTransfer(way, () => disk.resize(END * SECTOR));
    assert.equal(way.move(true), way.beyond);
    const bytes = machine.memory.readBytes(at, BYTES);
    assert.equal(bytes.subarray(0, KEPT), content.subarray(LBA * SECTOR, END * SECTOR));
    assert.ok(bytes.subarray(KEPT).every((byte) => byte === UNTOUCHED));
    disk.resize(diskBytes);
    // SCSI says once that the capacity changed.
    if (name === 'aha1542' || name === 'lsi53c895a') way.move(true);
    assert.equal(way.move(true), way.good);
    assert.ok(machine.memory.readBytes(at + KEPT, BYTES - KEPT).every((byte) => byte === 0));
  });

  test(`${name}: a write below which the disk shrinks leaves nothing behind the end`, async () => {
    const way = await open({ bytes: diskBytes });
    const { machine, disk, at } = way;
    const written = pattern(BYTES, 9);
    machine.memory.writeBytes(at, written);
    inTransfer(way, () => disk.resize(END * SECTOR));
    assert.equal(way.move(false), way.beyond);
    assert.equal(disk.read(LBA * SECTOR, KEPT), written.subarray(0, KEPT));
    disk.resize(diskBytes);
    assert.ok(disk.read(END * SECTOR, BYTES - KEPT).every((byte) => byte === 0));
    if (name === 'aha1542' || name === 'lsi53c895a') way.move(false);
    assert.equal(way.move(false), way.good);
    assert.equal(disk.read(LBA * SECTOR, BYTES), written);
  });

  // By PIO every block is a request of its own.
  if (name === 'piix-ide by PIO') continue;
  test(`${name}: a disk that shrinks and grows while a read is under way has forgotten what was behind its end`, async () => {
    const way = await open({ bytes: diskBytes });
    way.disk.write(0, content);
    inTransfer(way, () => {
      way.disk.resize(END * SECTOR);
      way.disk.resize(diskBytes);
    });
    assert.equal(way.move(true), way.beyond);
  });
}

test('a medium of the host never hears of bytes behind its new end', async () => {
  const medium = ramMedium(diskBytes);
  const asked: number[] = [];
  let end = diskBytes;
  const shrinking = Object.assign(medium, {
    shrink(bytes: number) {
      end = bytes;
    },
  });
  const { readv, writev } = medium;
  shrinking.readv = (offset, buffers) => {
    asked.push(offset + buffers.reduce((sum, { length }) => sum + length, 0));
    return readv.call(medium, offset, buffers);
  };
  shrinking.writev = (offset, buffers) => {
    asked.push(offset + buffers.reduce((sum, { length }) => sum + length, 0));
    return writev.call(medium, offset, buffers);
  };
  for (const reads of [true, false]) {
    const rig = await Rig.create({ disk: null });
    const disk = rig.machine.addDisk({ medium: shrinking });
    rig.controller.attach(disk, 0);
    const status = rig.request(reads ? virtio.BLK_T_IN : virtio.BLK_T_OUT, LBA, [
      { address: VIRTIO_DATA, bytes: BYTES, write: reads },
    ]);
    rig.notify();
    disk.resize(END * SECTOR);
    rig.machine.settle();
    assert.is(rig.machine.memory.read8(status), virtio.BLK_S_IOERR);
    assert.is(end, END * SECTOR);
  }
  assert.equal(asked, [END * SECTOR, END * SECTOR]);
});

/** Three ranges of eight sectors; the disk shrinks while the first to be worked on is, and the one at 200 is gone then. */
const RANGES = [10, 200, 20];

function list(
  stride: number,
  head: number,
  put: (view: DataView, at: number, lba: number) => void,
): Uint8Array {
  const bytes = new Uint8Array(head + stride * RANGES.length);
  const view = new DataView(bytes.buffer);
  for (const [i, lba] of RANGES.entries()) put(view, head + i * stride, lba);
  return bytes;
}

/** What was asked for before the end came nearer is done, or not begun. */
function checkRanges(disk: Disk): void {
  assert.is(disk.bytes, END * SECTOR);
  assert.equal([disk.read(18 * SECTOR, 1)[0], disk.read(28 * SECTOR, 1)[0]], [7, 7]);
  assert.ok(RANGES.some((lba) => lba < END && disk.read(lba * SECTOR, 1)[0] === 0));
}

const full = new Uint8Array(diskBytes).fill(7);

test('UNMAP, SBC-3 5.28: a descriptor that is out of range when its turn comes ends the command with that', async () => {
  const board = await Board.create({ disk: { bytes: diskBytes } });
  const { machine, disk } = board;
  disk.write(0, full);
  const ranges = list(16, 8, (view, at, lba) => {
    view.setUint32(at + 4, lba);
    view.setUint32(at + 8, 8);
  });
  ranges.set([0, ranges.length - 2, 0, ranges.length - 8]);
  machine.memory.writeBytes(BOARD_DATA, ranges);
  const cdb = [scsi.OP_UNMAP, 0, 0, 0, 0, 0, 0, 0, ranges.length, 0];
  const ccb = { cdb, direction: aha.DIRECTION_OUT, dataLength: ranges.length, dataPointer: BOARD_DATA };
  inTransfer({ machine, disk }, () => disk.resize(END * SECTOR));
  assert.equal(senseOf(board.execute(ccb).sense), [scsi.KEY_ILLEGAL_REQUEST, scsi.ASC_LBA_RANGE, 200]);
  checkRanges(disk);
});

test('DATA SET MANAGEMENT, ATA8-ACS 7.5: an entry that is out of range when its turn comes is IDNF', async () => {
  const board = await Hba.create({ diskBytes });
  const { machine, disk } = board;
  disk.write(0, full);
  const entries = new Uint8Array(SECTOR);
  entries.set(
    list(8, 0, (view, at, lba) => {
      view.setUint32(at, lba, true);
      view.setUint16(at + 6, 8, true);
    }),
  );
  machine.memory.writeBytes(HBA_DATA, entries);
  const task = { command: ata.ATA_DATA_SET_MANAGEMENT, feature: ata.ATA_DSM_TRIM, count: 1 };
  inTransfer({ machine, disk }, () => disk.resize(END * SECTOR));
  const status = board.execute(task, [{ address: HBA_DATA, bytes: SECTOR }]);
  assert.is(status & 0xffff, (ata.ATA_ERROR_IDNF << 8) | ata.ATA_STATUS_GOOD | ata.ATA_STATUS_ERR);
  checkRanges(disk);
});

test('Dataset Management, NVM Express 1.4, 6.7: a range that is out of range when its turn comes is LBA Out of Range', async () => {
  const board = await NvmeBoard.create({ diskBytes });
  const { machine, disk } = board;
  disk.write(0, full);
  const ranges = list(16, 0, (view, at, lba) => {
    view.setUint32(at + 4, 8, true);
    view.setUint32(at + 8, lba, true);
  });
  machine.memory.writeBytes(NVME_DATA, ranges);
  inTransfer({ machine, disk }, () => disk.resize(END * SECTOR));
  const dwords = { 10: RANGES.length - 1, 11: nvme.NVME_DSM_DEALLOCATE };
  assert.is(board.io({ opcode: nvme.NVME_DSM, prp1: NVME_DATA, dwords }).status, nvme.NVME_LBA_RANGE);
  checkRanges(disk);
});

test('DISCARD, VIRTIO 1.2, 5.2.6: a range that is beyond the capacity when its turn comes is an I/O error', async () => {
  const rig = await Rig.create({
    disk: { bytes: diskBytes },
    features: [virtio.VIRTIO_BLK_F_DISCARD, 0],
    parameters: { ranges: 4 },
  });
  const { machine, disk } = rig;
  disk.write(0, full);
  const ranges = list(16, 0, (view, at, lba) => {
    view.setUint32(at, lba, true);
    view.setUint32(at + 8, 8, true);
  });
  machine.memory.writeBytes(VIRTIO_DATA, ranges);
  inTransfer({ machine, disk }, () => disk.resize(END * SECTOR));
  const data = [{ address: VIRTIO_DATA, bytes: ranges.length }];
  assert.is(rig.run(virtio.BLK_T_DISCARD, 0, data), virtio.BLK_S_IOERR);
  checkRanges(disk);
});

test('virtio: the configuration interrupt comes while the request is under way, which then ends by the new capacity', async () => {
  const rig = await Rig.create({ disk: { bytes: diskBytes } });
  const { machine, disk } = rig;
  const status = rig.request(virtio.BLK_T_IN, LBA, [{ address: VIRTIO_DATA, bytes: BYTES, write: true }]);
  rig.notify();
  disk.resize(END * SECTOR);
  // Nothing of the queue yet: VIRTIO 1.2, 4.1.5.4 has both bits looked at.
  assert.equal([rig.line, machine.memory.read8(status)], [true, 0xff]);
  assert.ok((rig.isr() & virtio.VIRTIO_ISR_CONFIG) !== 0);
  assert.equal([rig.config(virtio.BLK_CAPACITY), rig.line], [END, false]);
  machine.settle();
  assert.equal([rig.line, machine.memory.read8(status)], [true, virtio.BLK_S_IOERR]);
  assert.is(rig.isr(), virtio.VIRTIO_ISR_QUEUE);
});

test('virtio: a capacity that changes before DRIVER_OK has another generation, and no interrupt (2.5.1)', async () => {
  const rig = await Rig.create({ disk: { bytes: diskBytes }, cold: true });
  rig.negotiate(0, virtio.VIRTIO_F_VERSION_1);
  const before = rig.read(virtio.VIRTIO_CONFIG_GENERATION, 1);
  rig.disk.resize(END * SECTOR);
  assert.equal([rig.line, rig.config(virtio.BLK_CAPACITY)], [false, END]);
  assert.ok(rig.read(virtio.VIRTIO_CONFIG_GENERATION, 1) !== before);
});

test('a snapshot from between the shrinking and the end of the command continues the same', async () => {
  for (const open of Object.values(WAYS)) {
    const way = await open({ bytes: diskBytes });
    const { machine, disk, at } = way;
    disk.write(0, content);
    machine.memory.fill(at, UNTOUCHED, BYTES);
    inTransfer(way, () => {
      disk.resize(END * SECTOR);
      const snapshot = machine.save();
      machine.advance(Number.POSITIVE_INFINITY);
      machine.restore(snapshot);
    });
    assert.equal(way.move(true), way.beyond);
  }
});
