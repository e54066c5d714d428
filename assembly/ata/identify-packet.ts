// IDENTIFY PACKET DEVICE: 256 words that say what the drive is ([3]; references in device.ts).
import { ATA_SERIAL, AtaDevice, ataBuffer, diskOfAta } from './device';
import { set, strings, sumUp, transferModes } from './identify';
import { ATA_ID_PACKET_CD } from './regs';

/** "BACKPLANE CD-ROM". */
const MODEL: StaticArray<u8> = [
  0x42, 0x41, 0x43, 0x4b, 0x50, 0x4c, 0x41, 0x4e, 0x45, 0x20, 0x43, 0x44, 0x2d, 0x52, 0x4f, 0x4d,
];

/** Fills the device's buffer. */
export function buildIdentifyPacket(a: AtaDevice): void {
  const words = ataBuffer(a);
  memory.fill(words, 0, 512);
  set(words, 0, ATA_ID_PACKET_CD);
  strings(words, diskOfAta(a), MODEL);
  // DMA, LBA, IORDY, which can be switched off.
  set(words, 49, 0x0f00);
  set(words, 51, 0x0200);
  set(words, 53, 0x0006);
  transferModes(a, words);
  set(words, 80, 0x01f0);
  // PACKET, power management, DEVICE RESET, NOP.
  set(words, 82, 0x4218);
  set(words, 83, 0x4000);
  set(words, 84, 0x4000);
  set(words, 85, 0x4218);
  set(words, 87, 0x4000);
  if ((a.transport & ATA_SERIAL) != 0) {
    set(words, 76, 0x000e);
    set(words, 77, a.generation << 1);
    set(words, 222, 0x103e);
  } else {
    set(words, 93, 0x600b);
  }
  sumUp(words);
}
