// Commands by PIO: data port, blocks and their interrupts, errors.

import { assert, suite } from '../run/suite.ts';
import { ata, Ide, pattern, regs } from './ide.ts';

const test = suite('piix-ide: pio');

const GOOD = ata.ATA_STATUS_GOOD;
const DRQ = GOOD | ata.ATA_STATUS_DRQ;
const ERR = GOOD | ata.ATA_STATUS_ERR;

test('IDENTIFY interrupts once, and its 256 words come by 16 or 32 bits', async () => {
  const ide = await Ide.create();
  assert.is(ide.execute({ command: ata.ATA_IDENTIFY }), DRQ);
  const words = ide.take(512);
  assert.is(ide.alternate(), GOOD);
  assert.not.ok(ide.irq());
  assert.is((words[120] ?? 0) | ((words[121] ?? 0) << 8), ide.disk.sectors);
  ide.send({ command: ata.ATA_IDENTIFY });
  assert.ok(ide.irq());
  for (let i = 0; i < 512; i += 4) {
    const dword = ide.controller.read32(regs.PIIX_BAR_PRIMARY, regs.IDE_DATA);
    assert.equal(
      [dword & 0xff, (dword >>> 8) & 0xff, (dword >>> 16) & 0xff, dword >>> 24],
      [...words.subarray(i, i + 4)],
    );
  }
  assert.is(ide.alternate(), GOOD);
  assert.is(ide.controller.read16(regs.PIIX_BAR_PRIMARY, regs.IDE_DATA), 0xffff);
});

for (const sectorBytes of [512, 4096] as const) {
  test(`READ SECTORS interrupts for each block, also with sectors of ${sectorBytes} bytes`, async () => {
    const ide = await Ide.create({ sectorBytes });
    const bytes = pattern(3 * sectorBytes, 1);
    ide.disk.write(7 * sectorBytes, bytes);
    ide.send({ command: ata.ATA_READ_SECTORS, lba: 7, count: 3 });
    for (let i = 0; i < 3; i++) {
      assert.not.ok(ide.irq());
      ide.machine.settle();
      assert.ok(ide.irq());
      assert.is(ide.read(regs.IDE_STATUS), DRQ);
      assert.equal(ide.take(sectorBytes), bytes.subarray(i * sectorBytes, (i + 1) * sectorBytes));
    }
    ide.machine.settle();
    assert.not.ok(ide.irq());
    assert.is(ide.alternate(), GOOD);
  });

  test(`WRITE SECTORS asks for the first block without an interrupt (${sectorBytes} bytes)`, async () => {
    const ide = await Ide.create({ sectorBytes });
    const bytes = pattern(3 * sectorBytes, 2);
    ide.send({ command: ata.ATA_WRITE_SECTORS_EXT, lba: 9, count: 3, wide: true });
    for (let i = 0; i < 3; i++) {
      assert.is(ide.alternate(), DRQ);
      assert.is(ide.irq(), i > 0);
      assert.is(ide.read(regs.IDE_STATUS), DRQ);
      ide.put(bytes.subarray(i * sectorBytes, (i + 1) * sectorBytes));
      ide.machine.settle();
    }
    assert.ok(ide.irq());
    assert.is(ide.read(regs.IDE_STATUS), GOOD);
    assert.equal(ide.disk.read(9 * sectorBytes, bytes.length), bytes);
  });

  test(`MULTIPLE moves blocks, the last one shorter (${sectorBytes} bytes)`, async () => {
    const ide = await Ide.create({ sectorBytes });
    const block = ata.ATA_BLOCK_MAX;
    const most = block / sectorBytes;
    const count = most + 1;
    assert.is(ide.execute({ command: ata.ATA_READ_MULTIPLE, count: 1 }), ERR);
    assert.is(ide.execute({ command: ata.ATA_SET_MULTIPLE, count: most }), GOOD);
    const bytes = pattern(block + sectorBytes, 3);
    ide.send({ command: ata.ATA_WRITE_MULTIPLE_FUA_EXT, lba: 1, count, wide: true });
    ide.put(bytes.subarray(0, block));
    ide.machine.settle();
    assert.ok(ide.irq());
    assert.is(ide.read(regs.IDE_STATUS), DRQ);
    ide.put(bytes.subarray(block));
    ide.machine.settle();
    assert.is(ide.read(regs.IDE_STATUS), GOOD);
    assert.equal(ide.disk.read(sectorBytes, bytes.length), bytes);
    assert.is(ide.execute({ command: ata.ATA_READ_MULTIPLE, lba: 1, count }), DRQ);
    assert.equal(ide.take(block), bytes.subarray(0, block));
    ide.machine.settle();
    assert.is(ide.read(regs.IDE_STATUS), DRQ);
    assert.equal(ide.take(sectorBytes), bytes.subarray(block));
    assert.is(ide.alternate(), GOOD);
  });
}

test('a 48-bit command takes both bytes of its registers, a 28-bit one the last', async () => {
  const ide = await Ide.create();
  ide.disk.write(0x105 * 512, pattern(512, 5));
  ide.disk.write(0x05 * 512, pattern(512, 6));
  ide.send({ command: ata.ATA_READ_SECTORS_EXT, lba: 0x105, count: 1, wide: true });
  ide.machine.settle();
  assert.equal(ide.take(512), pattern(512, 5));
  // 2 ** 24 is behind the disk: the previous content of the low register counts.
  assert.is(ide.execute({ command: ata.ATA_READ_SECTORS_EXT, lba: 2 ** 24 + 5, count: 1, wide: true }), ERR);
  assert.is(ide.read(regs.IDE_ERROR), ata.ATA_ERROR_IDNF);
  ide.send({ command: ata.ATA_READ_SECTORS, lba: 5, count: 1 });
  ide.machine.settle();
  assert.equal(ide.take(512), pattern(512, 6));
});

test('READ NATIVE MAX EXT answers through HOB', async () => {
  const ide = await Ide.create({ diskBytes: 2 ** 20 });
  assert.is(ide.execute({ command: ata.ATA_READ_NATIVE_MAX_EXT, lba: 0xffeeddccbbaa, wide: true }), GOOD);
  assert.equal(ide.registers().slice(2, 5), [0xff, 7, 0]);
  ide.control(regs.IDE_CONTROL_HOB);
  assert.equal(ide.registers().slice(2, 5), [0, 0, 0]);
});

test('a medium error ends a read with the sector, after the good blocks', async () => {
  const ide = await Ide.create();
  ide.machine.addFault({ disk: ide.disk, kind: 'error', first: 12, last: 12 });
  assert.is(ide.execute({ command: ata.ATA_READ_SECTORS, lba: 11, count: 3 }), DRQ);
  ide.take(512);
  ide.machine.settle();
  assert.ok(ide.irq());
  assert.is(ide.read(regs.IDE_STATUS), ERR);
  assert.equal(ide.registers().slice(0, 5), [ata.ATA_ERROR_UNC, 3, 12, 0, 0]);
  ide.machine.addFault({ disk: ide.disk, kind: 'error', first: 21, last: 21, operations: ['write'] });
  ide.send({ command: ata.ATA_WRITE_SECTORS, lba: 20, count: 2 });
  ide.put(pattern(512, 1));
  ide.machine.settle();
  ide.put(pattern(512, 2));
  ide.machine.settle();
  assert.is(ide.read(regs.IDE_STATUS), ERR | ata.ATA_STATUS_DF);
  assert.is(ide.read(regs.IDE_LBA_LOW), 21);
});

test('what the disk does not know, or holds back, is aborted', async () => {
  const ide = await Ide.create({ readOnly: true });
  for (const command of [0x00, 0x7f - 0x70 + 0x80, 0xf4, ata.ATA_READ_FPDMA_QUEUED]) {
    assert.is(ide.execute({ command, count: 1 }), ERR, `${command}`);
    assert.is(ide.read(regs.IDE_ERROR), ata.ATA_ERROR_ABRT);
  }
  ide.send({ command: ata.ATA_WRITE_SECTORS, count: 1 });
  ide.put(pattern(512, 1));
  ide.machine.settle();
  assert.is(ide.read(regs.IDE_STATUS), ERR);
});

test('both drives of a channel, and both channels, keep their data apart', async () => {
  const places = [
    [0, 0],
    [0, 1],
    [1, 0],
    [1, 1],
  ] as const;
  const ide = await Ide.create({ places });
  for (const [i, [channel, drive]] of places.entries()) {
    ide.send({ command: ata.ATA_WRITE_SECTORS, drive, lba: 3, count: 1 }, channel);
    ide.put(pattern(512, 10 + i), channel);
    ide.machine.settle();
    assert.is(ide.read(regs.IDE_STATUS, channel), GOOD);
  }
  for (const [i, disk] of ide.disks.entries()) assert.equal(disk.read(3 * 512, 512), pattern(512, 10 + i));
});

test('a byte at the data port moves a word', async () => {
  const ide = await Ide.create();
  ide.disk.write(0, Uint8Array.of(1, 2, 3, 4));
  ide.execute({ command: ata.ATA_READ_SECTORS, count: 1 });
  const { controller } = ide;
  assert.equal([controller.read8(0, 0), controller.read16(0, 0)], [1, 0x0403]);
});
