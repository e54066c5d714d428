import { PCI_COMMAND, PCI_STATUS } from '../../assembly/bus/pci-regs.ts';
import { assert, suite } from '../run/suite.ts';
import { ata, DATA, Hba, regs } from './hba.ts';

const test = suite('ahci: registers');

const BAR = regs.AHCI_BAR;
const block = (bytes: number, address = DATA) => [{ address, bytes }];
const read = { command: ata.ATA_READ_DMA_EXT, count: 1 };

function withParameters(hba: Hba, parameters: Record<string, number | boolean>) {
  const { profile } = hba.controller;
  return { ...profile, parameters: { ...profile.parameters, ...parameters } };
}

async function custom(parameters: Record<string, number | boolean>, cold = false, disks = 1): Promise<Hba> {
  const plain = await Hba.create({ cold: true, disks: 0 });
  return Hba.create({ profile: withParameters(plain, parameters), cold, disks });
}

test('PCI: class 01 06 01, BAR5 of 4 KiB, MSI first, then SATA, then power management', async () => {
  const { controller } = await Hba.create();
  assert.is(controller.configRead(0, 4), 0x29228086);
  assert.is(controller.configRead(8, 4) >>> 8, regs.AHCI_CLASS);
  const list: number[] = [];
  for (let at = controller.configRead(0x34, 1); at !== 0; at = controller.configRead(at + 1, 1)) {
    list.push(at, controller.configRead(at, 1));
  }
  assert.equal(list, [0x80, 0x05, 0xa8, 0x12, 0x70, 0x01]);
  assert.equal(
    controller.bars().map((bar) => [bar.index, bar.kind, bar.bytes]),
    [
      [4, 'io', 32],
      [5, 'memory', 4096],
    ],
  );
  assert.is((await custom({ ports: 32 }, true, 0)).controller.bars()[1]?.bytes, 8192);
});

test('CAP, PI and VS say what the profile says', async () => {
  const hba = await Hba.create({ cold: true });
  assert.is(hba.read(regs.AHCI_CAP), 0xc1249f85);
  assert.equal([hba.read(regs.AHCI_PI), hba.read(regs.AHCI_VS)], [0x3f, 0x10200]);
  const slot1 = await Hba.create({ profile: 'ahci-1slot', cold: true });
  assert.is(slot1.read(regs.AHCI_CAP) & (regs.AHCI_CAP_SNCQ | 0x1f00), 0);
  const holes = await custom({ ports: 4, implemented: 0b1010 }, true, 0);
  assert.is(holes.read(regs.AHCI_PI), 0b1010);
  holes.setPx(regs.AHCI_PX_CLB, 0x1000, 0);
  assert.equal([holes.px(regs.AHCI_PX_CLB, 0), holes.px(regs.AHCI_PX_TFD, 0)], [0, 0]);
  assert.is(holes.px(regs.AHCI_PX_TFD, 1), regs.AHCI_TFD_RESET);
});

test('without S64A the upper halves read 0 and count as 0', async () => {
  const hba = await Hba.create({ profile: 'ahci-32bit' });
  hba.setPx(regs.AHCI_PX_CLBU, 1);
  hba.setPx(regs.AHCI_PX_FBU, 1);
  assert.equal([hba.px(regs.AHCI_PX_CLBU), hba.px(regs.AHCI_PX_FBU)], [0, 0]);
  assert.is(hba.execute(read, block(512, 2 ** 32 + DATA)), ata.ATA_STATUS_GOOD);
  const wide = await Hba.create();
  wide.setPx(regs.AHCI_PX_CLBU, 1);
  assert.is(wide.px(regs.AHCI_PX_CLBU), 1);
});

test('lines that are not driven are cut off: the data is in the wrong place', async () => {
  const hba = await Hba.create({ profile: 'ahci-26lines' });
  hba.disk.write(0, new Uint8Array(512).fill(0x3c));
  assert.is(hba.execute(read, block(512, 2 ** 32 + DATA)), ata.ATA_STATUS_GOOD);
  assert.is(hba.machine.memory.read8(DATA), 0x3c);
  assert.is(hba.machine.memory.read8(2 ** 32 + DATA), 0);
});

test('accesses of any size at any offset see the same bytes', async () => {
  const { controller, ...hba } = await Hba.create({ cold: true });
  const at = regs.AHCI_PORTS + regs.AHCI_PX_CLB;
  controller.write32(BAR, at, 0x12345400);
  controller.write8(BAR, at + 3, 0x98);
  controller.write16(BAR, at + 1, 0xabcd);
  assert.is(controller.read32(BAR, at), 0x98abcc00);
  controller.write32(BAR, at + 2, 0x11112222);
  assert.equal([controller.read32(BAR, at), controller.read32(BAR, at + 4)], [0x2222cc00, 0x1111]);
  assert.equal([controller.read8(BAR, at + 1), controller.read16(BAR, at + 3)], [0xcc, 0x1122]);
  assert.is(controller.read32(BAR, at + 2), 0x11112222);
  assert.ok(hba);
});

test('a part of a register that ones clear leaves its other bits alone', async () => {
  const hba = await Hba.create({ cold: true });
  hba.machine.settle();
  const at = regs.AHCI_PORTS + regs.AHCI_PX_SERR;
  assert.is(hba.px(regs.AHCI_PX_SERR), regs.AHCI_SERR_X | regs.AHCI_SERR_N);
  hba.controller.write8(BAR, at + 2, 0xff);
  assert.is(hba.px(regs.AHCI_PX_SERR), regs.AHCI_SERR_X);
});

test('after power-on the link comes up in time, DIAG.X and N say so, and FRE gets the held signature', async () => {
  const hba = await Hba.create({ cold: true });
  assert.equal(
    [regs.AHCI_PX_TFD, regs.AHCI_PX_SIG, regs.AHCI_PX_SSTS, regs.AHCI_PX_SERR].map((at) => hba.px(at)),
    [regs.AHCI_TFD_RESET, regs.AHCI_SIG_NONE, 0, 0],
  );
  hba.machine.advance(hba.machine.now() + 150_000);
  assert.is(hba.px(regs.AHCI_PX_SSTS), 0x123);
  assert.is(hba.px(regs.AHCI_PX_TFD), ata.ATA_STATUS_BSY);
  assert.is(hba.px(regs.AHCI_PX_IS), regs.AHCI_IS_PCS | regs.AHCI_IS_PRCS);
  hba.machine.settle();
  assert.equal([hba.px(regs.AHCI_PX_TFD), hba.px(regs.AHCI_PX_SIG)], [0x150, regs.AHCI_SIG_ATA]);
  hba.setPx(regs.AHCI_PX_FB, 0x10800);
  assert.is(hba.frame(regs.AHCI_RFIS_REGISTER, 1)[0], 0);
  hba.setPx(regs.AHCI_PX_CMD, regs.AHCI_CMD_FRE | regs.AHCI_CMD_SUD);
  assert.is(hba.frame(regs.AHCI_RFIS_REGISTER, 1)[0], regs.FIS_REGISTER_D2H);
  assert.is(hba.px(regs.AHCI_PX_CMD) & regs.AHCI_CMD_FR, regs.AHCI_CMD_FR);
  hba.setPx(regs.AHCI_PX_IS, 0xffffffff);
  assert.is(hba.px(regs.AHCI_PX_IS), regs.AHCI_IS_PCS | regs.AHCI_IS_PRCS);
  hba.setPx(regs.AHCI_PX_SERR, 0xffffffff);
  assert.is(hba.px(regs.AHCI_PX_IS), 0);
});

test('a silent board has the link up at once, and PxTFD at 7Fh until FRE', async () => {
  const hba = await Hba.create({ profile: 'ahci-q35', cold: true });
  assert.equal(
    [regs.AHCI_PX_TFD, regs.AHCI_PX_SIG, regs.AHCI_PX_SSTS, regs.AHCI_PX_SERR].map((at) => hba.px(at)),
    [regs.AHCI_TFD_RESET, regs.AHCI_SIG_NONE, 0x113, 0],
  );
  hba.setPx(regs.AHCI_PX_CMD, regs.AHCI_CMD_FRE);
  assert.equal([hba.px(regs.AHCI_PX_TFD), hba.px(regs.AHCI_PX_SIG)], [0x150, regs.AHCI_SIG_ATA]);
});

test('COMRESET: DET 1 holds the device, 0 lets it come back, at the speed that SPD allows', async () => {
  const hba = await Hba.create();
  hba.setPx(regs.AHCI_PX_SCTL, 0x10 | regs.AHCI_DET_RESET);
  hba.machine.settle();
  assert.equal([hba.px(regs.AHCI_PX_SSTS), hba.px(regs.AHCI_PX_TFD)], [0, regs.AHCI_TFD_RESET]);
  hba.setPx(regs.AHCI_PX_SCTL, 0x10);
  hba.machine.settle();
  assert.is(hba.px(regs.AHCI_PX_SSTS), 0x113);
  hba.setPx(regs.AHCI_PX_SCTL, regs.AHCI_DET_OFFLINE);
  assert.is(hba.px(regs.AHCI_PX_SSTS), regs.AHCI_DET_OFFLINE);
  hba.comreset();
  assert.is(hba.px(regs.AHCI_PX_SSTS), 0x123);
  assert.is(hba.execute(read, block(512)), ata.ATA_STATUS_GOOD);
});

test('COMRESET in mid-transfer: the command is gone, and the list waits for ST', async () => {
  const hba = await Hba.create();
  hba.machine.memory.fill(DATA, 9, 512);
  hba.prepare(0, read, block(512));
  hba.setPx(regs.AHCI_PX_CI, 1);
  hba.setPx(regs.AHCI_PX_SCTL, regs.AHCI_DET_RESET);
  hba.setPx(regs.AHCI_PX_SCTL, 0);
  hba.machine.settle();
  assert.equal([hba.machine.memory.read8(DATA), hba.px(regs.AHCI_PX_CI)], [9, 1]);
  hba.clear();
  hba.restart();
  assert.is(hba.execute(read, block(512)), ata.ATA_STATUS_GOOD);
});

test('staggered spin-up: no device before SUD (10.1.1)', async () => {
  const hba = await custom({ staggered: true }, true);
  hba.machine.settle();
  assert.is(hba.px(regs.AHCI_PX_SSTS), 0);
  hba.setPx(regs.AHCI_PX_CMD, regs.AHCI_CMD_SUD);
  hba.machine.settle();
  assert.is(hba.px(regs.AHCI_PX_SSTS), 0x123);
  hba.setPx(regs.AHCI_PX_CMD, 0);
  assert.is(hba.px(regs.AHCI_PX_SSTS), 0);
  const plain = await Hba.create({ cold: true });
  plain.setPx(regs.AHCI_PX_CMD, 0);
  assert.is(plain.px(regs.AHCI_PX_CMD), regs.AHCI_CMD_SUD | regs.AHCI_CMD_POD);
});

test('low-power states are refused: ICC reads 0, the link stays active', async () => {
  const hba = await Hba.create();
  for (const state of [1, 2, 6]) {
    hba.setPx(regs.AHCI_PX_CMD, (hba.px(regs.AHCI_PX_CMD) | (state << 28)) >>> 0);
    assert.equal([hba.px(regs.AHCI_PX_CMD) >>> 28, hba.px(regs.AHCI_PX_SSTS) >>> 8], [0, 1]);
  }
  hba.setPx(regs.AHCI_PX_CMD, hba.px(regs.AHCI_PX_CMD) | regs.AHCI_CMD_ALPE);
  assert.is(hba.px(regs.AHCI_PX_CMD) & regs.AHCI_CMD_ALPE, 0);
  const claims = await custom({ aggressive: true });
  claims.setPx(regs.AHCI_PX_CMD, claims.px(regs.AHCI_PX_CMD) | regs.AHCI_CMD_ALPE);
  assert.is(claims.px(regs.AHCI_PX_CMD) & regs.AHCI_CMD_ALPE, regs.AHCI_CMD_ALPE);
});

test('GHC.HR resets ports, IS and GHC, keeps the base addresses, and gives commands up', async () => {
  const hba = await Hba.create();
  hba.machine.memory.fill(DATA, 7, 512);
  hba.prepare(0, read, block(512));
  hba.setPx(regs.AHCI_PX_CI, 1);
  hba.write(regs.AHCI_GHC, regs.AHCI_GHC_AE | regs.AHCI_GHC_HR);
  assert.is(hba.read(regs.AHCI_GHC), regs.AHCI_GHC_AE);
  assert.equal([hba.px(regs.AHCI_PX_CLB), hba.px(regs.AHCI_PX_FB)], [0x10000, 0x10800]);
  assert.equal([hba.px(regs.AHCI_PX_CI), hba.px(regs.AHCI_PX_IE), hba.px(regs.AHCI_PX_SERR)], [0, 0, 0]);
  hba.machine.settle();
  assert.is(hba.machine.memory.read8(DATA), 7);
  hba.start();
  assert.is(hba.execute(read, block(512)), ata.ATA_STATUS_GOOD);
  hba.controller.reset('bus');
  assert.equal([hba.controller.configRead(PCI_COMMAND, 2), hba.controller.read32(BAR, 0)], [0, 0xffffffff]);
  hba.controller.enable();
  assert.is(hba.px(regs.AHCI_PX_CLB), 0);
});

test('IS holds its bits until they are written; one that is cleared too early rises again (10.7.2.1)', async () => {
  const hba = await Hba.create();
  const line = 1 << hba.controller.line;
  hba.execute(read, block(512));
  assert.is(hba.machine.irqLines & line, line);
  hba.write(regs.AHCI_IS, 1);
  assert.is(hba.read(regs.AHCI_IS), 1);
  hba.setPx(regs.AHCI_PX_IS, regs.AHCI_IS_DHRS);
  assert.is(hba.read(regs.AHCI_IS), 1);
  hba.write(regs.AHCI_IS, 1);
  assert.equal([hba.read(regs.AHCI_IS), hba.machine.irqLines & line], [0, 0]);
  hba.setPx(regs.AHCI_PX_IE, 0);
  hba.execute(read, block(512));
  assert.equal([hba.px(regs.AHCI_PX_IS), hba.read(regs.AHCI_IS)], [regs.AHCI_IS_DHRS, 0]);
  hba.setPx(regs.AHCI_PX_IE, regs.AHCI_IS_DHRS);
  assert.is(hba.machine.irqLines & line, line);
  hba.write(regs.AHCI_GHC, regs.AHCI_GHC_AE);
  assert.is(hba.machine.irqLines & line, 0);
  hba.write(regs.AHCI_GHC, regs.AHCI_GHC_AE | regs.AHCI_GHC_IE);
  hba.controller.configWrite(PCI_COMMAND, 2, 0x407);
  assert.is(hba.machine.irqLines & line, 0);
  assert.is(hba.controller.configRead(PCI_STATUS, 2) & 8, 8);
});

test('MSI: a message for each new bit of IS, and one more where bits are left', async () => {
  const hba = await Hba.create({ disks: 2 });
  const { controller, machine } = hba;
  controller.configWrite(0x84, 4, 0xfee00000);
  controller.configWrite(0x8c, 2, 0x33);
  controller.configWrite(0x82, 2, 1);
  hba.execute(read, block(512), 0);
  assert.equal([machine.takeMsi(), machine.takeMsi()], [0x33, -1]);
  hba.execute(read, block(512), 1);
  assert.is(machine.takeMsi(), 0x33);
  hba.setPx(regs.AHCI_PX_IS, 0xffffffff, 0);
  hba.write(regs.AHCI_IS, 1);
  assert.is(machine.takeMsi(), 0x33);
  hba.setPx(regs.AHCI_PX_IS, 0xffffffff, 1);
  hba.write(regs.AHCI_IS, 2);
  assert.is(machine.takeMsi(), -1);
  assert.is(machine.irqLines & (1 << controller.line), 0);
});

test('the PCI command register gates registers, and DMA: a command without bus mastering is a bus error', async () => {
  const hba = await Hba.create();
  hba.controller.configWrite(PCI_COMMAND, 2, 5);
  assert.is(hba.read(regs.AHCI_CAP), 0xffffffff);
  hba.controller.configWrite(PCI_COMMAND, 2, 3);
  hba.execute(read, block(512));
  assert.is(hba.px(regs.AHCI_PX_IS), regs.AHCI_IS_HBFS);
  hba.controller.configWrite(PCI_COMMAND, 2, 7);
  hba.restart();
  assert.is(hba.execute(read, block(512)), ata.ATA_STATUS_GOOD);
});

test('D3hot and back is a reset', async () => {
  const hba = await Hba.create();
  hba.controller.configWrite(0x74, 2, 3);
  assert.is(hba.read(regs.AHCI_CAP), 0xffffffff);
  hba.controller.configWrite(0x74, 2, 0);
  hba.controller.enable();
  assert.equal([hba.px(regs.AHCI_PX_CMD) & regs.AHCI_CMD_ST, hba.px(regs.AHCI_PX_CLB)], [0, 0]);
});

test('the index/data pair reaches every register', async () => {
  const { controller } = await Hba.create();
  controller.write32(4, regs.AHCI_INDEX, regs.AHCI_VS);
  assert.is(controller.read32(4, regs.AHCI_DATA), 0x10200);
  controller.write32(4, regs.AHCI_INDEX, regs.AHCI_PORTS + regs.AHCI_PX_IE);
  controller.write32(4, regs.AHCI_DATA, 1);
  assert.is(controller.read32(BAR, regs.AHCI_PORTS + regs.AHCI_PX_IE), 1);
});

test('plugging and pulling: PCS and PRCS, signature, and commands that never end', async () => {
  const hba = await Hba.create({ disks: 1 });
  const disk = hba.machine.addDisk({ bytes: 2 ** 20 });
  hba.setPx(regs.AHCI_PX_IE, 0xffffffff, 1);
  hba.controller.attach(disk, 1);
  hba.machine.settle();
  assert.is(hba.px(regs.AHCI_PX_IS, 1), regs.AHCI_IS_PCS | regs.AHCI_IS_PRCS);
  assert.is(hba.read(regs.AHCI_IS), 2);
  assert.is(hba.px(regs.AHCI_PX_SIG, 1), regs.AHCI_SIG_ATA);
  hba.prepare(0, read, block(512));
  hba.setPx(regs.AHCI_PX_CI, 1);
  hba.controller.detachDisk(0);
  hba.machine.settle();
  assert.equal([hba.px(regs.AHCI_PX_CI), hba.px(regs.AHCI_PX_SSTS)], [1, 0]);
  assert.is(hba.px(regs.AHCI_PX_IS), regs.AHCI_IS_PRCS);
  assert.is(hba.px(regs.AHCI_PX_TFD), regs.AHCI_TFD_RESET);
});

test('coalescing by number: one interrupt for every third completion (11)', async () => {
  const hba = await Hba.create();
  const first = hba.read(regs.AHCI_CCC_CTL);
  assert.is(first, 0x00010100 | (6 << 3));
  hba.setPx(regs.AHCI_PX_IE, 0);
  hba.write(regs.AHCI_CCC_PORTS, 1);
  hba.write(regs.AHCI_CCC_CTL, (50 << 16) | (3 << 8) | regs.AHCI_CCC_EN);
  hba.write(regs.AHCI_CCC_CTL, (9 << 16) | (9 << 8) | regs.AHCI_CCC_EN);
  assert.is(hba.read(regs.AHCI_CCC_CTL), (50 << 16) | (3 << 8) | (6 << 3) | 1);
  const once = (): void => {
    hba.prepare(0, { ...read });
    hba.prepare(0, read, block(512));
    hba.setPx(regs.AHCI_PX_CI, 1);
    hba.machine.advance(hba.machine.now() + 20_000);
  };
  once();
  once();
  assert.is(hba.read(regs.AHCI_IS), 0);
  once();
  assert.is(hba.read(regs.AHCI_IS), 1 << 6);
  hba.write(regs.AHCI_IS, 1 << 6);
  assert.is(hba.read(regs.AHCI_IS), 0);
});

test('coalescing by time: what is fewer than the number interrupts when the timer is out', async () => {
  const hba = await Hba.create();
  hba.setPx(regs.AHCI_PX_IE, 0);
  hba.write(regs.AHCI_CCC_PORTS, 1);
  hba.write(regs.AHCI_CCC_CTL, (2 << 16) | regs.AHCI_CCC_EN);
  hba.prepare(0, read, block(512));
  hba.setPx(regs.AHCI_PX_CI, 1);
  hba.machine.advance(hba.machine.now() + 1_900_000);
  assert.equal([hba.px(regs.AHCI_PX_CI), hba.read(regs.AHCI_IS)], [0, 0]);
  hba.machine.advance(hba.machine.now() + 200_000);
  assert.is(hba.read(regs.AHCI_IS), 1 << 6);
});

test('handoff: OOS sets OOC, which a one clears (10.6)', async () => {
  const hba = await custom({ handoff: true }, true, 0);
  assert.is(hba.read(regs.AHCI_CAP2), regs.AHCI_CAP2_BOH);
  hba.write(regs.AHCI_BOHC, regs.AHCI_BOHC_OOS);
  assert.is(hba.read(regs.AHCI_BOHC), regs.AHCI_BOHC_OOS | regs.AHCI_BOHC_OOC);
  hba.controller.write8(BAR, regs.AHCI_BOHC + 1, 0);
  assert.is(hba.read(regs.AHCI_BOHC), regs.AHCI_BOHC_OOS | regs.AHCI_BOHC_OOC);
  hba.write(regs.AHCI_BOHC, regs.AHCI_BOHC_OOS | regs.AHCI_BOHC_OOC);
  assert.is(hba.read(regs.AHCI_BOHC), regs.AHCI_BOHC_OOS);
});

test('a board with a legacy mode runs no command before GHC.AE', async () => {
  const hba = await custom({ ahciOnly: false });
  hba.write(regs.AHCI_GHC, 0);
  assert.is(hba.read(regs.AHCI_GHC), 0);
  hba.prepare(0, read, block(512));
  hba.issue(1);
  assert.is(hba.px(regs.AHCI_PX_CI), 1);
  hba.write(regs.AHCI_GHC, regs.AHCI_GHC_AE);
  hba.machine.settle();
  assert.is(hba.px(regs.AHCI_PX_CI), 0);
});

test('what is not there reads 0: FBS, device sleep, notification, enclosure, ports behind the last', async () => {
  const hba = await Hba.create();
  hba.setPx(regs.AHCI_PX_FBS, 0xffffffff);
  hba.setPx(regs.AHCI_PX_DEVSLP, 0xffffffff);
  for (const at of [regs.AHCI_PX_FBS, regs.AHCI_PX_DEVSLP, regs.AHCI_PX_SNTF, 0x1c]) assert.is(hba.px(at), 0);
  for (const at of [regs.AHCI_EM_LOC, regs.AHCI_EM_CTL, 0x2c, 0xfc]) assert.is(hba.read(at), 0);
  for (let at = 0x400; at < 0x1000; at += 4) assert.is(hba.read(at), 0);
});
