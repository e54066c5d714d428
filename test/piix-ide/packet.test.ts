// ATAPI on the cable: signature, the phases of PACKET by PIO and by the bus master, DEVICE RESET, two drives on a channel.

import * as scsi from '../../assembly/scsi/regs.ts';
import { assert, suite } from '../run/suite.ts';
import { ata, DATA, Ide, type IdeOptions, pattern, regs } from './ide.ts';

const test = suite('piix-ide: packets');

const BLOCK = 2048;
const BLOCKS = 64;
const { ATA_STATUS_DRDY: DRDY, ATA_STATUS_BSY: BSY, ATA_STATUS_ERR: ERR } = ata;
const DRQ = ata.ATA_STATUS_DRQ;
const TO_HOST = ata.ATA_REASON_TO_HOST;
const COMMAND = ata.ATA_REASON_COMMAND;
const read = (lba: number, blocks: number): number[] => [scsi.OP_READ_10, 0, 0, 0, 0, lba, 0, 0, blocks, 0];
const INQUIRY = (room: number): number[] => [scsi.OP_INQUIRY, 0, 0, 0, room, 0];

async function create(options: IdeOptions = {}): Promise<{ ide: Ide; content: Uint8Array }> {
  const place = [0, 0] as const;
  const ide = await Ide.create({
    flavour: 'debug',
    places: [],
    drives: [{ bytes: BLOCKS * BLOCK, place }],
    ...options,
  });
  const content = pattern(BLOCKS * BLOCK, 3);
  if (ide.drive.tray.loaded) ide.drive.write(0, content);
  return { ide, content };
}

/** Runs a packet without data; the status. */
function run(ide: Ide, cdb: readonly number[]): number {
  ide.sendPacket(cdb, 0);
  ide.machine.settle();
  return ide.read(regs.IDE_STATUS);
}

/** Hears of the unit attention of power on. */
async function ready(options: IdeOptions = {}): Promise<{ ide: Ide; content: Uint8Array }> {
  const made = await create(options);
  assert.is(run(made.ide, [0, 0, 0, 0, 0, 0]), DRDY | ERR);
  return made;
}

test('the signature after power on, resets, DEVICE RESET and diagnostics is that of a packet device', async () => {
  const { ide } = await create();
  const signature = [1, 1, 1, 0x14, 0xeb, 0];
  assert.equal(ide.registers(), signature);
  assert.is(ide.alternate(), 0);
  assert.is(run(ide, [0, 0, 0, 0, 0, 0]), DRDY | ERR);
  for (const reset of [
    () => ide.softReset(),
    () => ide.controller.reset('bus'),
    () => ide.send({ command: ata.ATA_DEVICE_RESET, device: 0 }),
    () => ide.send({ command: ata.ATA_EXECUTE_DIAGNOSTIC, device: 0 }),
  ]) {
    ide.write(regs.IDE_LBA_MID, 0x55);
    reset();
    ide.controller.enable();
    assert.equal(ide.registers(), signature);
  }
});

test('IDENTIFY DEVICE and READ SECTORS are aborted and leave the signature', async () => {
  const { ide } = await create();
  for (const command of [ata.ATA_IDENTIFY, ata.ATA_READ_SECTORS]) {
    assert.is(ide.execute({ command, device: 0, count: 7 }), DRDY | ERR);
    assert.equal(ide.registers(), [ata.ATA_ERROR_ABRT, 1, 1, 0x14, 0xeb, 0]);
  }
  for (const command of [0x00, ata.ATA_FLUSH_CACHE, ata.ATA_READ_DMA, ata.ATA_WRITE_SECTORS, 0xff]) {
    assert.is(ide.execute({ command }) & ERR, ERR);
    assert.is(ide.read(regs.IDE_ERROR), ata.ATA_ERROR_ABRT);
  }
});

test('IDENTIFY PACKET DEVICE says what it is, and its bytes add up to zero', async () => {
  const { ide } = await create({
    drives: [{ place: [0, 0], serial: 'S1', model: 'A drive', firmware: '7' }],
  });
  assert.is(ide.execute({ command: ata.ATA_IDENTIFY_PACKET }), ata.ATA_STATUS_GOOD | DRQ);
  const bytes = ide.take(512);
  assert.is(bytes.reduce((sum, byte) => sum + byte, 0) & 0xff, 0);
  const word = (i: number): number => (bytes[2 * i] ?? 0) | ((bytes[2 * i + 1] ?? 0) << 8);
  const text = (from: number, to: number): string =>
    Array.from({ length: to - from }, (_, i) =>
      String.fromCharCode(word(from + i) >> 8, word(from + i) & 255),
    ).join('');
  assert.is(word(0), ata.ATA_ID_PACKET_CD);
  assert.equal(
    [text(10, 20), text(23, 27), text(27, 47)],
    ['S1'.padEnd(20), '7'.padEnd(8), 'A drive'.padEnd(40)],
  );
  // LBA, DMA, IORDY; PACKET, DEVICE RESET, power management; no byte count limit of 0.
  assert.equal([word(49) & 0x0f00, word(82) & 0x0218, word(125)], [0x0f00, 0x0218, 0]);
});

test('PACKET asks for twelve bytes without an interrupt, with its reason in the registers', async () => {
  const { ide } = await ready();
  ide.send({ command: ata.ATA_PACKET, lba: BLOCK * 256 });
  assert.is(ide.alternate(), ata.ATA_STATUS_GOOD | DRQ);
  assert.not.ok(ide.irq());
  assert.is(ide.read(regs.IDE_COUNT), COMMAND);
  ide.put(Uint8Array.from(read(0, 1)));
  assert.is(ide.alternate() & DRQ, DRQ);
  ide.put(new Uint8Array(2));
  assert.is(ide.alternate() & (BSY | DRQ), BSY);
  // Registers do not change under a busy drive.
  ide.write(regs.IDE_LBA_MID, 0x33);
  assert.ok(ide.read(regs.IDE_LBA_MID) !== 0x33);
  ide.machine.settle();
  assert.ok(ide.irq());
  assert.is(ide.read(regs.IDE_COUNT), TO_HOST);
});

for (const limit of [512, BLOCK, 5120, 5121, 65534]) {
  test(`data come in blocks of at most the limit, ${limit} bytes; each interrupts, and so does the end`, async () => {
    const { ide, content } = await ready();
    const bytes = 10 * BLOCK;
    ide.sendPacket(read(2, 10), limit);
    const most = Math.min(limit & ~1, ata.ATA_BLOCK_MAX);
    for (let at = 0; at < bytes; ) {
      ide.machine.settle();
      assert.ok(ide.irq());
      assert.is(ide.read(regs.IDE_COUNT), TO_HOST);
      const block = ide.block();
      assert.is(block, Math.min(most, bytes - at));
      assert.not.ok(ide.irq());
      assert.equal(ide.take(block), content.subarray(2 * BLOCK + at, 2 * BLOCK + at + block));
      at += block;
    }
    ide.machine.settle();
    assert.ok(ide.irq());
    assert.is(ide.read(regs.IDE_STATUS), DRDY);
    assert.is(ide.read(regs.IDE_COUNT), COMMAND | TO_HOST);
    assert.is(ide.controller.read16(0, regs.IDE_DATA), 0xffff);
  });
}

test('a limit of 0 is aborted where there are data, and nothing otherwise', async () => {
  const { ide } = await ready();
  ide.sendPacket(read(0, 1), 0);
  ide.machine.settle();
  assert.is(ide.read(regs.IDE_STATUS), DRDY | ERR);
  assert.is(ide.read(regs.IDE_ERROR), ata.ATA_ERROR_ABRT);
  assert.is(run(ide, [0, 0, 0, 0, 0, 0]), DRDY);
  assert.is(run(ide, read(0, 0)), DRDY);
});

test('an odd number of bytes comes in one word more than half of it', async () => {
  const { ide } = await ready();
  ide.sendPacket(INQUIRY(5), 64);
  ide.machine.settle();
  assert.is(ide.block(), 5);
  assert.equal([...ide.take(6).subarray(0, 2)], [0x05, 0x80]);
  assert.is(ide.read(regs.IDE_STATUS), DRDY);
});

test('the sense key is in the error register, and the sense data stay until another command', async () => {
  const { ide } = await ready();
  assert.is(run(ide, read(BLOCKS, 1)), DRDY | ERR);
  assert.is(ide.read(regs.IDE_ERROR), scsi.KEY_ILLEGAL_REQUEST << 4);
  for (const key of [scsi.KEY_ILLEGAL_REQUEST, scsi.KEY_NO_SENSE]) {
    ide.sendPacket([scsi.OP_REQUEST_SENSE, 0, 0, 0, 18, 0], 64);
    ide.machine.settle();
    assert.is(ide.take(ide.block())[2], key);
  }
});

test('DMA: the bus master moves the data, whichever of the two is ready first', async () => {
  const { ide, content } = await ready();
  const { memory } = ide.machine;
  const prds = [
    { address: DATA, bytes: 3000 },
    { address: DATA + 0x4000, bytes: 5192 },
  ];
  for (const early of [false, true]) {
    memory.fill(DATA, 0, 0x8000);
    ide.setTable(prds);
    if (early) ide.start(true);
    ide.sendPacket(read(4, 4), 0, ata.ATA_PACKET_DMA);
    if (!early) ide.start(true);
    assert.is(ide.alternate() & BSY, BSY);
    ide.machine.settle();
    assert.is(ide.master(regs.MASTER_STATUS), regs.MASTER_INTERRUPT);
    assert.is(ide.read(regs.IDE_STATUS), DRDY);
    ide.stop();
    assert.ok(memory.equals(DATA, content.subarray(4 * BLOCK, 4 * BLOCK + 3000)));
    assert.ok(memory.equals(DATA + 0x4000, content.subarray(4 * BLOCK + 3000, 8 * BLOCK)));
  }
});

test('a drive that does not ask for DMADIR takes no notice of it', async () => {
  const { ide, content } = await ready();
  ide.setTable([{ address: DATA, bytes: BLOCK }]);
  // From device to host, and the other way round.
  for (const direction of [4, 0]) {
    ide.sendPacket(read(3, 1), 0, ata.ATA_PACKET_DMA | direction);
    ide.start(true);
    ide.machine.settle();
    ide.stop();
    assert.is(ide.read(regs.IDE_STATUS), DRDY);
    assert.ok(ide.machine.memory.equals(DATA, content.subarray(3 * BLOCK, 4 * BLOCK)));
    ide.machine.memory.fill(DATA, 0, BLOCK);
  }
});

test('DMA through a table that is too short, or to where no memory is, waits for a reset', async () => {
  const { ide } = await ready();
  for (const prd of [
    { address: DATA, bytes: 512 },
    { address: 0x4000_0000, bytes: BLOCK },
  ]) {
    ide.setTable([prd]);
    ide.sendPacket(read(0, 1), 0, ata.ATA_PACKET_DMA);
    ide.start(true);
    ide.machine.settle();
    assert.not.ok(ide.irq());
    assert.is(ide.alternate() & DRQ, DRQ);
    ide.stop();
    ide.send({ command: ata.ATA_DEVICE_RESET, device: 0 });
    assert.is(run(ide, [0, 0, 0, 0, 0, 0]), DRDY);
  }
});

test('MODE SELECT takes its list by PIO', async () => {
  const { ide } = await ready();
  const list = new Uint8Array(8);
  ide.sendPacket([scsi.OP_MODE_SELECT_10, 0x10, 0, 0, 0, 0, 0, 0, 8, 0], 6);
  for (const part of [list.subarray(0, 6), list.subarray(6)]) {
    assert.ok(ide.irq());
    assert.is(ide.read(regs.IDE_COUNT), 0);
    assert.is(ide.block(), part.length);
    ide.put(part);
    ide.machine.settle();
  }
  assert.is(ide.read(regs.IDE_STATUS), DRDY);
});

test('DEVICE RESET ends a packet in every phase, without an interrupt, and the drive works on', async () => {
  const { ide } = await ready();
  const phases: (() => void)[] = [
    () => ide.send({ command: ata.ATA_PACKET, lba: BLOCK * 256 }),
    () => ide.sendPacket(read(0, 2), BLOCK),
    () => {
      ide.sendPacket(read(0, 2), BLOCK);
      ide.machine.settle();
      ide.take(100);
    },
  ];
  for (const begin of phases) {
    begin();
    ide.send({ command: ata.ATA_DEVICE_RESET, device: 0 });
    assert.not.ok(ide.irq());
    assert.is(ide.alternate(), 0);
    assert.is(ide.machine.nextDeadline(), Number.POSITIVE_INFINITY);
    ide.machine.settle();
    assert.is(run(ide, [0, 0, 0, 0, 0, 0]), DRDY);
  }
  ide.execute({ command: ata.ATA_SLEEP });
  assert.is(ide.alternate() & BSY, 0);
  ide.send({ command: ata.ATA_PACKET });
  assert.is(ide.alternate() & BSY, BSY);
  ide.send({ command: ata.ATA_DEVICE_RESET, device: 0 });
  assert.is(run(ide, [0, 0, 0, 0, 0, 0]), DRDY);
});

test('a disk and a drive share a channel: signatures, commands, diagnostics, DEV kept by DEVICE RESET', async () => {
  const { ide, content } = await create({
    places: [[0, 0]],
    drives: [{ bytes: BLOCKS * BLOCK, place: [0, 1] }],
  });
  const both = (): number[][] =>
    [0, 1].map((drive) => {
      ide.select(drive);
      return ide.registers().slice(1, 5);
    });
  const signatures = [
    [1, 1, 0, 0],
    [1, 1, 0x14, 0xeb],
  ];
  assert.equal(both(), signatures);
  ide.send({ command: ata.ATA_EXECUTE_DIAGNOSTIC, drive: 1 });
  // Device 0 is selected afterwards, and says that both passed.
  assert.equal([ide.read(regs.IDE_DEVICE) & regs.IDE_DEVICE_SECOND, ide.read(regs.IDE_ERROR)], [0, 1]);
  assert.equal(both(), signatures);
  ide.select(1);
  ide.sendPacket([0, 0, 0, 0, 0, 0], 0, 0, 1);
  ide.sendPacket(read(6, 1), BLOCK, 0, 1);
  ide.machine.settle();
  assert.equal(ide.take(ide.block()), content.subarray(6 * BLOCK, 7 * BLOCK));
  ide.send({ command: ata.ATA_DEVICE_RESET, drive: 1 });
  assert.is(ide.read(regs.IDE_DEVICE) & regs.IDE_DEVICE_SECOND, regs.IDE_DEVICE_SECOND);
  // The disk does not know that command.
  assert.is(ide.execute({ command: ata.ATA_DEVICE_RESET }) & ERR, ERR);
  assert.is(ide.execute({ command: ata.ATA_IDENTIFY }) & DRQ, DRQ);
});

test('a drive takes the place of a disk, and the other way round', async () => {
  const { ide, content } = await create();
  const disk = ide.machine.addDisk({ bytes: 2 ** 16 });
  ide.controller.detachDisk(0, 0);
  ide.controller.attach(disk, 0, 0);
  assert.equal(ide.registers().slice(1, 5), [1, 1, 0, 0]);
  assert.is(ide.execute({ command: ata.ATA_IDENTIFY }) & DRQ, DRQ);
  ide.take(512);
  ide.controller.detachDisk(0, 0);
  ide.controller.attach(ide.drive, 0, 0);
  assert.equal(ide.registers().slice(1, 5), [1, 1, 0x14, 0xeb]);
  run(ide, [0, 0, 0, 0, 0, 0]);
  ide.sendPacket(read(0, 1), BLOCK);
  ide.machine.settle();
  assert.equal(ide.take(ide.block()), content.subarray(0, BLOCK));
});

test('a snapshot at every step of a read by PIO and by DMA goes on as if there were none', async () => {
  for (const feature of [0, ata.ATA_PACKET_DMA]) {
    const { ide, content } = await ready();
    ide.setTable([{ address: DATA, bytes: 2 * BLOCK }]);
    const words: number[] = [];
    const steps: (() => void)[] = [
      () => ide.send({ command: ata.ATA_PACKET, lba: BLOCK * 256, feature }),
      () => ide.put(Uint8Array.from([...read(8, 2), 0, 0])),
      () => ide.start(true),
      () => {
        ide.machine.advance(ide.machine.now() + 5000);
      },
      () => ide.machine.settle(),
    ];
    if (feature === 0) {
      for (let i = 0; i < 4; i++) {
        steps.push(() => {
          words.push(...ide.take(BLOCK / 2));
          ide.machine.settle();
        });
      }
    }
    for (const [i, step] of steps.entries()) {
      const before = ide.machine.save();
      step();
      const after = ide.machine.save().toBytes();
      const taken = words.length;
      ide.machine.restore(before);
      words.length = Math.max(0, feature === 0 && i > 4 ? taken - BLOCK / 2 : taken);
      step();
      assert.equal(ide.machine.save().toBytes(), after, `step ${i}`);
    }
    assert.is(ide.read(regs.IDE_STATUS), DRDY);
    const expected = content.subarray(8 * BLOCK, 10 * BLOCK);
    assert.equal(
      feature === 0 ? Uint8Array.from(words) : ide.machine.memory.readBytes(DATA, 2 * BLOCK),
      expected,
    );
  }
});
