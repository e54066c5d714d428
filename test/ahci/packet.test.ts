// ATAPI behind AHCI: signature, the packet out of the command table, frames and interrupts of its data, errors, resets.

import * as scsi from '../../assembly/scsi/regs.ts';
import { assert, suite } from '../run/suite.ts';
import { ata, DATA, Hba, type HbaOptions, type Prd, pattern, regs, type Taskfile } from './hba.ts';

const test = suite('ahci: packets');

const BLOCK = 2048;
const BLOCKS = 64;
const { ATA_STATUS_DRDY: DRDY, ATA_STATUS_ERR: ERR, ATA_STATUS_DRQ: DRQ } = ata;
const READY = [0, 0, 0, 0, 0, 0];
const read = (lba: number, blocks: number): number[] => [scsi.OP_READ_10, 0, 0, 0, 0, lba, 0, 0, blocks, 0];

function packet(cdb: readonly number[], limit: number, more: Partial<Taskfile> = {}): Taskfile {
  return { command: ata.ATA_PACKET, lba: limit * 256, header: regs.AHCI_HEADER_ATAPI, packet: cdb, ...more };
}
const dma = (cdb: readonly number[]): Taskfile => packet(cdb, 0, { feature: ata.ATA_PACKET_DMA });

async function create(options: HbaOptions = {}): Promise<{ hba: Hba; content: Uint8Array }> {
  const hba = await Hba.create({
    disks: 0,
    drives: [{ bytes: BLOCKS * BLOCK }],
    flavour: 'debug',
    ...options,
  });
  const content = pattern(BLOCKS * BLOCK, 5);
  hba.drive.write(0, content);
  return { hba, content };
}

/** Hears of the unit attention of power on. */
async function ready(options: HbaOptions = {}): Promise<{ hba: Hba; content: Uint8Array }> {
  const made = await create(options);
  assert.is(made.hba.execute(packet(READY, 0)) & 0xff, DRDY | ERR);
  made.hba.restart();
  return made;
}

/** One command; what PxIS shows then. */
function interrupts(hba: Hba, task: Taskfile, prds: readonly Prd[] = []): number {
  hba.clear();
  hba.execute(task, prds);
  return hba.px(regs.AHCI_PX_IS);
}

test('PxSIG has the signature of a packet device, and its first frame too', async () => {
  const { hba } = await create();
  assert.is(hba.px(regs.AHCI_PX_SIG), 0xeb140101);
  assert.is(hba.px(regs.AHCI_PX_TFD) & 0x89, 0);
  assert.equal([...hba.frame(regs.AHCI_RFIS_REGISTER, 20).subarray(4, 7)], [1, 0x14, 0xeb]);
  assert.is((hba.execute({ command: ata.ATA_IDENTIFY }, [{ address: DATA, bytes: 512 }]) >>> 8) & 4, 4);
  hba.restart();
  assert.is(
    hba.execute({ command: ata.ATA_IDENTIFY_PACKET }, [{ address: DATA, bytes: 512 }]) & (ERR | DRQ),
    0,
  );
  assert.is(hba.machine.memory.read16(DATA), ata.ATA_ID_PACKET_CD);
  hba.comreset();
  assert.is(hba.px(regs.AHCI_PX_SIG), 0xeb140101);
});

test('data by DMA: PRDBC, a Register FIS, nothing of PIO but the packet’s setup frame', async () => {
  const { hba, content } = await ready();
  const prds = [
    { address: DATA, bytes: 1000 },
    { address: DATA + 0x2000, bytes: 3096 },
  ];
  assert.is(interrupts(hba, dma(read(9, 2)), prds), regs.AHCI_IS_DHRS);
  assert.is(hba.moved(), 2 * BLOCK);
  assert.ok(hba.machine.memory.equals(DATA, content.subarray(9 * BLOCK, 9 * BLOCK + 1000)));
  assert.ok(hba.machine.memory.equals(DATA + 0x2000, content.subarray(9 * BLOCK + 1000, 11 * BLOCK)));
  const setup = hba.frame(regs.AHCI_RFIS_PIO_SETUP, 20);
  // From host to device, no interrupt, twelve bytes; the reason says command.
  assert.equal(
    [setup[0], setup[1], setup[12], setup[16]],
    [regs.FIS_PIO_SETUP, 0, ata.ATA_REASON_COMMAND, 12],
  );
  assert.is(hba.frame(regs.AHCI_RFIS_REGISTER, 20)[12], ata.ATA_REASON_COMMAND | ata.ATA_REASON_TO_HOST);
});

test('data by PIO: a setup frame of the last block with its interrupt, then the Register FIS', async () => {
  const { hba, content } = await ready();
  const prds = [{ address: DATA, bytes: 5 * BLOCK }];
  assert.is(interrupts(hba, packet(read(1, 5), 4096), prds), regs.AHCI_IS_DHRS | regs.AHCI_IS_PSS);
  assert.ok(hba.machine.memory.equals(DATA, content.subarray(BLOCK, 6 * BLOCK)));
  const setup = hba.frame(regs.AHCI_RFIS_PIO_SETUP, 20);
  assert.equal([setup[12], (setup[16] ?? 0) | ((setup[17] ?? 0) << 8)], [ata.ATA_REASON_TO_HOST, BLOCK]);
  assert.is(interrupts(hba, packet(READY, 0)), regs.AHCI_IS_DHRS);
  const aborted = interrupts(hba, packet(read(0, 1), 0), prds);
  assert.is(aborted, regs.AHCI_IS_DHRS | regs.AHCI_IS_TFES);
  assert.is(hba.px(regs.AHCI_PX_TFD) >>> 8, ata.ATA_ERROR_ABRT);
});

test('a packet that fails is a task file error with the sense key; the next one works', async () => {
  const { hba } = await ready();
  const failed = interrupts(hba, dma(read(BLOCKS, 1)), [{ address: DATA, bytes: BLOCK }]);
  assert.is(failed, regs.AHCI_IS_DHRS | regs.AHCI_IS_TFES);
  assert.is(hba.px(regs.AHCI_PX_TFD), DRDY | ERR | ((scsi.KEY_ILLEGAL_REQUEST << 4) << 8));
  hba.restart();
  assert.is(
    hba.execute(dma([scsi.OP_REQUEST_SENSE, 0, 0, 0, 18, 0]), [{ address: DATA, bytes: 18 }]) & ERR,
    0,
  );
  assert.is(hba.machine.memory.read8(DATA + 2), scsi.KEY_ILLEGAL_REQUEST);
});

test('PRDBC of a read that the medium broke off says how far it came', async () => {
  const { hba } = await ready();
  hba.machine.addFault({ disk: hba.drive, kind: 'error', first: 3, last: 3, times: 1 });
  const tfd = hba.execute(dma(read(2, 4)), [{ address: DATA, bytes: 4 * BLOCK }]);
  assert.equal([tfd & 0xff, tfd >>> 12], [DRDY | ERR, scsi.KEY_MEDIUM_ERROR]);
  assert.is(hba.moved(), BLOCK);
});

test('without the A bit the drive waits for its packet until it is reset', async () => {
  const { hba } = await ready();
  const tfd = hba.execute(packet(READY, 0, { header: 0 }));
  assert.is(tfd & DRQ, DRQ);
  assert.is(hba.px(regs.AHCI_PX_CI), 1);
  hba.comreset();
  assert.is(hba.execute(packet(READY, 0)) & 0xff, DRDY | ERR);
  hba.restart();
  assert.is(hba.execute(packet(READY, 0)) & 0xff, DRDY);
});

test('a table that is too short overflows; a table or memory that is not there is a host bus error', async () => {
  const { hba } = await ready();
  const short = interrupts(hba, dma(read(0, 2)), [{ address: DATA, bytes: BLOCK }]);
  assert.is(short & regs.AHCI_IS_OFS, regs.AHCI_IS_OFS);
  hba.comreset();
  hba.execute(packet(READY, 0));
  hba.restart();
  const fault = interrupts(hba, dma(read(0, 1)), [{ address: 0x4000_0000, bytes: BLOCK }]);
  assert.is(fault & regs.AHCI_IS_HBFS, regs.AHCI_IS_HBFS);
});

test('COMRESET in the middle of a packet forgets it', async () => {
  const { hba } = await ready();
  hba.prepare(0, dma(read(0, 8)), [{ address: DATA, bytes: 8 * BLOCK }]);
  hba.setPx(regs.AHCI_PX_CI, 1);
  hba.comreset();
  assert.is(hba.machine.nextDeadline(), Number.POSITIVE_INFINITY);
  assert.is(hba.execute(packet(READY, 0)) & 0xff, DRDY | ERR);
  hba.restart();
  assert.is(hba.execute(packet(READY, 0)) & 0xff, DRDY);
});

test('the q35 board’s drive is there without a word, and answers as public tests expect', async () => {
  const { hba } = await create({ profile: 'ahci-q35' });
  assert.is(hba.px(regs.AHCI_PX_SIG), 0xeb140101);
  assert.is(interrupts(hba, packet(READY, 0)), regs.AHCI_IS_DHRS);
  assert.is(
    interrupts(hba, packet(read(0, 3), BLOCK), [{ address: DATA, bytes: 3 * BLOCK }]),
    regs.AHCI_IS_DHRS | regs.AHCI_IS_PSS,
  );
  hba.drive.eject();
  hba.drive.insert({ bytes: BLOCK });
  for (const key of [scsi.KEY_NOT_READY, scsi.KEY_UNIT_ATTENTION]) {
    assert.is(hba.execute(packet(READY, 0)) >>> 12, key);
    hba.restart();
  }
  assert.is(hba.execute(packet(READY, 0)) & 0xff, DRDY);
});

test('a disk and a drive on two ports do not meet', async () => {
  const { hba, content } = await create({ disks: 1 });
  assert.equal([hba.px(regs.AHCI_PX_SIG, 0), hba.px(regs.AHCI_PX_SIG, 1)], [0x101, 0xeb140101]);
  hba.execute(packet(READY, 0), [], 1);
  hba.restart(1);
  const at = 0x180000;
  const bytes = pattern(512, 1);
  hba.disk.write(0, bytes);
  hba.prepare(0, { command: ata.ATA_READ_DMA_EXT, count: 1 }, [{ address: DATA, bytes: 512 }], 0);
  hba.prepare(0, dma(read(3, 1)), [{ address: at, bytes: BLOCK }], 1);
  hba.setPx(regs.AHCI_PX_CI, 1, 0);
  hba.setPx(regs.AHCI_PX_CI, 1, 1);
  hba.machine.settle();
  assert.ok(hba.machine.memory.equals(DATA, bytes));
  assert.ok(hba.machine.memory.equals(at, content.subarray(3 * BLOCK, 4 * BLOCK)));
  // A disk refuses packets.
  assert.is(hba.execute(packet(READY, 0)) & ERR, ERR);
});

test('a snapshot in the middle of a packet goes on as if there were none', async () => {
  const { hba, content } = await ready();
  for (const task of [dma(read(4, 6)), packet(read(4, 6), BLOCK)]) {
    hba.machine.memory.fill(DATA, 0, 6 * BLOCK);
    hba.clear();
    hba.prepare(0, task, [{ address: DATA, bytes: 6 * BLOCK }]);
    hba.setPx(regs.AHCI_PX_CI, 1);
    const before = hba.machine.save();
    hba.machine.settle();
    const after = hba.machine.save().toBytes();
    hba.machine.restore(before);
    hba.machine.settle();
    assert.equal(hba.machine.save().toBytes(), after);
    assert.ok(hba.machine.memory.equals(DATA, content.subarray(4 * BLOCK, 10 * BLOCK)));
  }
});

test('a command that CLO let through before the signature came is answered; the signature is not (3.3.7, CLO)', async () => {
  const { hba } = await ready({ drives: [{ bytes: BLOCKS * BLOCK, latencyNs: 1e6 }] });
  const deadline = (): void => void hba.machine.advance(hba.machine.nextDeadline());
  hba.setPx(regs.AHCI_PX_CMD, hba.px(regs.AHCI_PX_CMD) & ~regs.AHCI_CMD_ST);
  hba.setPx(regs.AHCI_PX_SCTL, regs.AHCI_DET_RESET);
  hba.setPx(regs.AHCI_PX_SCTL, 0);
  while ((hba.px(regs.AHCI_PX_SSTS) & 15) !== 3) deadline();
  hba.setPx(regs.AHCI_PX_CMD, hba.px(regs.AHCI_PX_CMD) | regs.AHCI_CMD_CLO);
  hba.restart();
  // The unit attention of the reset, then a read that takes the medium longer than the signature would have.
  hba.prepare(0, packet(READY, 0));
  hba.setPx(regs.AHCI_PX_CI, 1);
  assert.is(hba.px(regs.AHCI_PX_TFD) & 0xff, DRDY | ERR);
  hba.restart();
  hba.prepare(0, dma(read(0, 1)), [{ address: DATA, bytes: BLOCK }]);
  hba.prepare(1, dma(read(1, 1)), [{ address: DATA, bytes: BLOCK }]);
  hba.setPx(regs.AHCI_PX_CI, 1);
  hba.machine.advance(hba.machine.now() + 500_000);
  assert.ok((hba.px(regs.AHCI_PX_TFD) & ata.ATA_STATUS_BSY) !== 0);
  hba.setPx(regs.AHCI_PX_CI, 2);
  hba.machine.settle();
  assert.equal([hba.px(regs.AHCI_PX_CI), hba.px(regs.AHCI_PX_TFD) & ERR], [0, 0]);
});

test('a frame that waited for FRE is not posted over a command that the drive has (3.3.7, FRE)', async () => {
  const { hba } = await ready({ drives: [{ bytes: BLOCKS * BLOCK, latencyNs: 1e6 }] });
  const command = hba.px(regs.AHCI_PX_CMD) & ~(regs.AHCI_CMD_ST | regs.AHCI_CMD_FRE);
  hba.setPx(regs.AHCI_PX_CMD, command);
  hba.setPx(regs.AHCI_PX_SCTL, regs.AHCI_DET_RESET);
  hba.setPx(regs.AHCI_PX_SCTL, 0);
  hba.machine.settle();
  hba.setPx(regs.AHCI_PX_CMD, command | regs.AHCI_CMD_ST);
  hba.prepare(0, packet(READY, 0));
  hba.setPx(regs.AHCI_PX_CI, 1);
  hba.setPx(regs.AHCI_PX_CMD, command);
  hba.setPx(regs.AHCI_PX_CMD, command | regs.AHCI_CMD_ST);
  hba.prepare(0, dma(read(0, 1)), [{ address: DATA, bytes: BLOCK }]);
  hba.setPx(regs.AHCI_PX_CI, 1);
  hba.setPx(regs.AHCI_PX_CMD, command | regs.AHCI_CMD_ST | regs.AHCI_CMD_FRE);
  assert.ok((hba.px(regs.AHCI_PX_TFD) & ata.ATA_STATUS_BSY) !== 0);
  hba.prepare(1, dma(read(1, 1)), [{ address: DATA, bytes: BLOCK }]);
  hba.setPx(regs.AHCI_PX_CI, 2);
  hba.machine.settle();
  assert.equal([hba.px(regs.AHCI_PX_CI), hba.px(regs.AHCI_PX_TFD) & ERR], [0, 0]);
});
