import { assert, suite } from '../run/suite.ts';
import { ata, DATA, Hba, pattern, RAM_END, regs } from './hba.ts';

const test = suite('ahci: commands');

const GOOD = ata.ATA_STATUS_GOOD;
const HOLE = 0x3000_0000;

const read = (lba: number, count: number) => ({ command: ata.ATA_READ_DMA_EXT, lba, count });
const write = (lba: number, count: number) => ({ command: ata.ATA_WRITE_DMA_EXT, lba, count });
const block = (bytes: number, address = DATA) => [{ address, bytes }];

test('a DMA read scatters over descriptors of any even length (4.2.3.3)', async () => {
  const hba = await Hba.create();
  const bytes = pattern(4096, 1);
  hba.disk.write(512 * 9, bytes);
  const lengths = [2, 510, 1024, 6, 2554];
  let at = DATA;
  const prds = lengths.map((length) => {
    at += length + 2;
    return { address: at - length, bytes: length };
  });
  assert.is(hba.execute(read(9, 8), prds), GOOD);
  let from = 0;
  for (const prd of prds) {
    assert.ok(hba.machine.memory.equals(prd.address, bytes, from, prd.bytes));
    from += prd.bytes;
  }
  assert.is(hba.moved(), 4096);
  assert.is(hba.px(regs.AHCI_PX_CI), 0);
  assert.is(hba.px(regs.AHCI_PX_IS), regs.AHCI_IS_DHRS);
  assert.is(hba.read(regs.AHCI_IS), 1);
});

test('bit 0 of an address and of a count is not there (4.2.3.3)', async () => {
  const hba = await Hba.create();
  const bytes = pattern(512, 2);
  hba.disk.write(0, bytes);
  const prds = [
    { address: DATA + 1, bytes: 255 },
    { address: DATA + 0x1000, bytes: 255 },
  ];
  assert.is(hba.execute(read(0, 1), prds), GOOD);
  assert.ok(hba.machine.memory.equals(DATA, bytes, 0, 256));
  assert.ok(hba.machine.memory.equals(DATA + 0x1000, bytes, 256, 256));
});

test('what the table has too much is left alone, and PRDBC says how much moved', async () => {
  const hba = await Hba.create();
  hba.machine.memory.fill(DATA, 0x55, 4096);
  assert.is(hba.execute(read(0, 1), block(4096)), GOOD);
  assert.is(hba.moved(), 512);
  assert.is(hba.machine.memory.read8(DATA + 512), 0x55);
});

test('a table that is too short overflows: reads drop the rest, writes never reach the medium', async () => {
  const hba = await Hba.create();
  hba.disk.write(0, pattern(2048, 3));
  assert.is(hba.execute(read(0, 4), block(1024)), GOOD);
  assert.is(hba.px(regs.AHCI_PX_IS), regs.AHCI_IS_OFS | regs.AHCI_IS_DHRS);
  assert.ok(hba.machine.memory.equals(DATA, pattern(2048, 3), 0, 1024));
  hba.clear();
  assert.is(hba.execute(read(0, 4)), GOOD);
  assert.is(hba.px(regs.AHCI_PX_IS), regs.AHCI_IS_OFS | regs.AHCI_IS_DHRS);
  hba.clear();
  assert.is(hba.execute(write(0, 4), block(1024)) & ata.ATA_STATUS_BSY, ata.ATA_STATUS_BSY);
  assert.is(hba.px(regs.AHCI_PX_IS), regs.AHCI_IS_OFS);
  assert.equal(hba.disk.read(0, 2048), pattern(2048, 3));
  hba.comreset();
  assert.is(hba.execute(read(0, 4), block(2048)), GOOD);
});

test('a descriptor with its I bit set interrupts when it is used up', async () => {
  const hba = await Hba.create();
  const interrupt = true;
  hba.execute(read(0, 1), [
    { address: DATA, bytes: 256, interrupt },
    { address: DATA, bytes: 256 },
  ]);
  assert.is(hba.px(regs.AHCI_PX_IS), regs.AHCI_IS_DPS | regs.AHCI_IS_DHRS);
  hba.clear();
  hba.execute(read(0, 1), [{ address: DATA, bytes: 1024, interrupt }]);
  assert.is(hba.px(regs.AHCI_PX_IS), regs.AHCI_IS_DHRS);
});

test('PIO data-in ends with a PIO Setup FIS; data-out interrupts from its second block on', async () => {
  const hba = await Hba.create();
  assert.is(hba.execute({ command: ata.ATA_READ_SECTORS, count: 3 }, block(1536)), GOOD);
  assert.is(hba.px(regs.AHCI_PX_IS), regs.AHCI_IS_PSS);
  const fis = hba.frame(regs.AHCI_RFIS_PIO_SETUP, 20);
  assert.equal([fis[0], fis[1], fis[2], fis[15], fis[16], fis[17]], [0x5f, 0x60, 0x58, 0x50, 0, 2]);
  assert.is(hba.moved(), 1536);
  hba.clear();
  hba.execute({ command: ata.ATA_WRITE_SECTORS, count: 1 }, block(512));
  assert.is(hba.px(regs.AHCI_PX_IS), regs.AHCI_IS_DHRS);
  hba.clear();
  hba.execute({ command: ata.ATA_WRITE_SECTORS, count: 2 }, block(1024));
  assert.is(hba.px(regs.AHCI_PX_IS), regs.AHCI_IS_DHRS | regs.AHCI_IS_PSS);
});

test('MULTIPLE: the PIO Setup FIS counts the last block', async () => {
  const hba = await Hba.create();
  hba.execute({ command: ata.ATA_SET_MULTIPLE, count: 4 });
  hba.execute({ command: ata.ATA_READ_MULTIPLE, count: 6 }, block(3072));
  const fis = hba.frame(regs.AHCI_RFIS_PIO_SETUP, 20);
  assert.equal([fis[16], fis[17]], [0, 4]);
});

test('an error stops the list: PxCI keeps the bits, PxCMD names the slot, ST gets it going', async () => {
  const hba = await Hba.create();
  hba.prepare(4, read(0, 1), block(512));
  hba.prepare(5, { command: 0xff });
  hba.prepare(6, read(0, 1), block(512));
  hba.issue(0b1110000);
  assert.is(hba.px(regs.AHCI_PX_CI), 0b1100000);
  assert.is((hba.px(regs.AHCI_PX_CMD) >>> regs.AHCI_CMD_CCS_SHIFT) & 31, 5);
  assert.is(hba.px(regs.AHCI_PX_IS), regs.AHCI_IS_DHRS | regs.AHCI_IS_TFES);
  assert.is(hba.px(regs.AHCI_PX_CMD) & regs.AHCI_CMD_CR, regs.AHCI_CMD_CR);
  hba.issue(1 << 4);
  assert.is(hba.px(regs.AHCI_PX_CI), 0b1110000);
  hba.setPx(regs.AHCI_PX_CMD, hba.px(regs.AHCI_PX_CMD) & ~regs.AHCI_CMD_ST);
  assert.is(hba.px(regs.AHCI_PX_CI), 0);
  assert.is(hba.px(regs.AHCI_PX_CMD) & (regs.AHCI_CMD_CR | (31 << 8)), 0);
  hba.restart();
  assert.is(hba.execute(read(0, 1), block(512)), GOOD);
});

test('slots take turns, beginning with slot 0', async () => {
  const hba = await Hba.create();
  for (const slot of [0, 7, 31]) hba.prepare(slot, { command: ata.ATA_READ_NATIVE_MAX });
  hba.prepare(3, read(0, 1), block(512));
  const order: number[] = [];
  hba.setPx(regs.AHCI_PX_CI, 1 << 3);
  hba.setPx(regs.AHCI_PX_CI, 0x80000081);
  hba.prepare(7, read(0, 1), block(512));
  for (let i = 0; i < 3; i++) {
    order.push(hba.px(regs.AHCI_PX_CI) >>> 0);
    hba.machine.advance(hba.machine.now() + 10_200);
  }
  // 3 first, then 7, which waits for the medium, then 31 and 0.
  assert.equal(order, [0x80000089, 0x80000081, 0]);
});

const structures: [string, (hba: Hba) => void][] = [
  ['command list', (hba) => hba.setPx(regs.AHCI_PX_CLB, HOLE)],
  ['command table', (hba) => hba.machine.memory.write32(hba.list() + 8, HOLE)],
  ['received frames', (hba) => hba.setPx(regs.AHCI_PX_FB, HOLE)],
  ['data', (hba) => hba.machine.memory.write32(hba.table(0) + regs.AHCI_TABLE_PRDT, HOLE)],
  [
    'data that wraps',
    (hba) => {
      hba.machine.memory.write32(hba.table(0) + regs.AHCI_TABLE_PRDT, 0xffffff00);
      hba.machine.memory.write32(hba.table(0) + regs.AHCI_TABLE_PRDT + 4, 0xffffffff);
    },
  ],
  [
    'the tail of the data',
    (hba) => hba.machine.memory.write32(hba.table(0) + regs.AHCI_TABLE_PRDT, RAM_END - 0x100),
  ],
];
for (const [name, spoil] of structures) {
  test(`${name} where no memory is: host bus fatal error, and nothing is written to the medium`, async () => {
    const hba = await Hba.create();
    hba.disk.write(0, pattern(4096, 5));
    hba.prepare(0, write(0, 8), block(4096));
    spoil(hba);
    hba.issue(1);
    assert.is(hba.px(regs.AHCI_PX_IS) & ~regs.AHCI_IS_DHRS, regs.AHCI_IS_HBFS);
    assert.is(hba.px(regs.AHCI_PX_CI), 1);
    if (name !== 'received frames') assert.equal(hba.disk.read(0, 4096), pattern(4096, 5));
    hba.startPort();
    hba.comreset();
    assert.is(hba.execute(read(0, 8), block(4096)), GOOD);
    assert.ok(hba.machine.memory.equals(DATA, hba.disk.read(0, 4096)));
  });
}

test('a read into a hole leaves the bytes before it, and the port waits for a reset', async () => {
  const hba = await Hba.create();
  hba.disk.write(0, pattern(1024, 6));
  const prds = [...block(512), ...block(512, HOLE)];
  assert.is(hba.execute(read(0, 2), prds) & ata.ATA_STATUS_BSY, ata.ATA_STATUS_BSY);
  assert.is(hba.px(regs.AHCI_PX_IS), regs.AHCI_IS_HBFS);
  assert.ok(hba.machine.memory.equals(DATA, pattern(1024, 6), 0, 512));
});

test('frames that no device takes are interface errors (6.1.2)', async () => {
  for (const odd of [{ type: 0x46 }, { dwords: 0 }, { dwords: 4 }]) {
    const hba = await Hba.create();
    hba.execute({ ...read(0, 1), ...odd }, block(512));
    assert.is(hba.px(regs.AHCI_PX_IS), regs.AHCI_IS_IFS);
    assert.is(hba.px(regs.AHCI_PX_SERR), regs.AHCI_SERR_H);
    hba.restart();
    assert.is(hba.execute({ ...read(0, 1), dwords: 31 }, block(512)), GOOD);
  }
});

test('software reset: two control frames, C clears BSY of the first, the signature ends the second', async () => {
  const hba = await Hba.create();
  const first = { command: 0, flags: 0, control: ata.ATA_CONTROL_SRST };
  const header = regs.AHCI_HEADER_RESET | regs.AHCI_HEADER_CLEAR_BUSY;
  hba.execute({ command: ata.ATA_SET_MULTIPLE, count: 4 });
  assert.is(hba.execute({ ...first, header }) & ata.ATA_STATUS_BSY, 0);
  assert.is(hba.px(regs.AHCI_PX_CI), 0);
  hba.clear();
  hba.machine.memory.fill(0x10800, 0, 256);
  const tfd = hba.execute({ ...first, control: 0 });
  assert.is(tfd, GOOD | (ata.ATA_DIAGNOSTIC_PASSED << 8));
  assert.is(hba.px(regs.AHCI_PX_CI), 0);
  assert.is(hba.px(regs.AHCI_PX_SIG), regs.AHCI_SIG_ATA);
  assert.equal([...hba.frame(regs.AHCI_RFIS_REGISTER, 13)], [0x34, 0, 0x50, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
  assert.is(hba.px(regs.AHCI_PX_IS), 0);
  assert.is(hba.execute({ command: ata.ATA_READ_MULTIPLE, count: 1 }, block(512)) >>> 8, ata.ATA_ERROR_ABRT);
});

test('without C a control frame leaves the port busy until CLO or a reset', async () => {
  const hba = await Hba.create();
  const tfd = hba.execute({ command: 0, flags: 0, control: ata.ATA_CONTROL_SRST });
  assert.is(tfd & ata.ATA_STATUS_BSY, ata.ATA_STATUS_BSY);
  const command = hba.px(regs.AHCI_PX_CMD);
  hba.setPx(regs.AHCI_PX_CMD, command | regs.AHCI_CMD_CLO);
  assert.is(hba.px(regs.AHCI_PX_TFD) & ata.ATA_STATUS_BSY, ata.ATA_STATUS_BSY);
  hba.setPx(regs.AHCI_PX_CMD, command & ~regs.AHCI_CMD_ST);
  hba.setPx(regs.AHCI_PX_CMD, (command & ~regs.AHCI_CMD_ST) | regs.AHCI_CMD_CLO);
  assert.is(hba.px(regs.AHCI_PX_TFD) & ata.ATA_STATUS_BSY, 0);
  assert.is(hba.px(regs.AHCI_PX_CMD) & regs.AHCI_CMD_CLO, 0);
  hba.restart();
  assert.is(hba.execute({ command: 0, flags: 0, control: 0 }) & ata.ATA_STATUS_BSY, 0);
});

test('ST cleared in mid-transfer: nothing moves any more, and the device stays busy', async () => {
  const hba = await Hba.create();
  hba.machine.memory.fill(DATA, 0x11, 512);
  hba.prepare(0, read(0, 1), block(512));
  hba.setPx(regs.AHCI_PX_CI, 1);
  hba.setPx(regs.AHCI_PX_CMD, hba.px(regs.AHCI_PX_CMD) & ~regs.AHCI_CMD_ST);
  hba.machine.settle();
  assert.is(hba.machine.memory.read8(DATA), 0x11);
  assert.is(hba.px(regs.AHCI_PX_TFD) & ata.ATA_STATUS_BSY, ata.ATA_STATUS_BSY);
  hba.setPx(regs.AHCI_PX_CI, 1);
  assert.is(hba.px(regs.AHCI_PX_CI), 0);
  hba.comreset();
  assert.is(hba.execute(read(0, 1), block(512)), GOOD);
});

test('65,535 descriptors are walked, and fetched no further than the data goes', async () => {
  const hba = await Hba.create();
  const { memory } = hba.machine;
  hba.prepare(0, read(0, 256), block(2));
  const table = 0x1000000;
  memory.writeBytes(table, memory.readBytes(hba.table(0), 128));
  for (let i = 0; i < 65535; i++) {
    memory.write32(table + 128 + 16 * i, 0x800000 + 4 * i);
    memory.write32(table + 128 + 16 * i + 12, 1);
  }
  memory.write32(hba.list(), 5 | (65535 << 16));
  memory.write32(hba.list() + 8, table);
  const before = hba.controller.counters.dmaReadBytes;
  hba.issue(1);
  assert.is(hba.px(regs.AHCI_PX_TFD), GOOD);
  assert.is(hba.moved(), 65535 * 2);
  assert.is(hba.px(regs.AHCI_PX_IS) & regs.AHCI_IS_OFS, regs.AHCI_IS_OFS);
  assert.is(hba.controller.counters.dmaReadBytes - before, 32 + 20 + 65535 * 16);
});
