// Resets ([1] 1.4.1): hard, soft, of the SCSI bus, and the self-test that follows the hard one.
//
// [1] AHA-1540B/1542B Technical Reference Manual
import { cancel, schedule } from '../bus/clock';
import { setLine } from '../bus/irq';
import { resetUnit, unitAt } from '../scsi/unit';
import { Aha1542, EVENT_MAIL, EVENT_SELF_TEST, interrupt, NO_COMMAND, unitPlace } from './board';
import { dropCommands } from './ccb';
import { INTERRUPT_HACC, INTERRUPT_SCRD, SELECTION_TIMEOUT_NS, STATUS_INIT, TARGETS, UNITS } from './regs';

/** µs at power on, [1] 3.8 and 3.9. */
const BUS_ON: u32 = 11;
const BUS_OFF: u32 = 4;

/**
 * Commands, mailboxes and interrupts are forgotten, without mail; the bus is not touched, but a target whose
 * command is gone sees an abort.
 */
export function softReset(d: Aha1542): void {
  dropCommands(d);
  cancel(d, EVENT_MAIL, 0);
  d.latched = STATUS_INIT;
  d.flags = 0;
  d.deferred = 0;
  setLine(d, false);
  d.portCommand = NO_COMMAND;
  d.replyBytes = 0;
  d.mailboxes = 0;
  d.mailboxAddress = 0;
  d.nextOut = 0;
  d.nextIn = 0;
  d.reportsEmpty = 0;
  d.rescan = 0;
  d.mailRetries = 0;
}

/**
 * As at power on: the bus is reset, settings go back, the self-test runs. `reports`: it ends with an interrupt.
 * The mailbox lock stays as it is, since drivers that reset a board set up its mailboxes again without
 * unlocking them; power locks it (model.ts).
 */
export function hardReset(d: Aha1542, reports: bool): void {
  softReset(d);
  resetUnits(d);
  cancel(d, EVENT_SELF_TEST, 0);
  d.selectionTimeout = SELECTION_TIMEOUT_NS;
  d.busOn = BUS_ON;
  d.busOff = BUS_OFF;
  d.speed = 0;
  d.disconnect = 0xff;
  d.targetUnits = 0;
  d.biosMailbox = 0;
  d.signature = 0;
  d.testing = 1;
  d.testReports = reports ? 1 : 0;
  if (!schedule(d, EVENT_SELF_TEST, 0, d.selfTest)) selfTestOver(d);
}

export function selfTestOver(d: Aha1542): void {
  d.testing = 0;
  if (d.testReports != 0) interrupt(d, INTERRUPT_HACC);
}

/**
 * The board asserts the reset line of the bus: targets forget their commands, and so does the board, without
 * mail. It sees the line itself and says so with SCRD.
 */
export function resetBus(d: Aha1542): void {
  dropCommands(d);
  resetUnits(d);
  interrupt(d, INTERRUPT_SCRD);
}

function resetUnits(d: Aha1542): void {
  for (let i: u32 = 0; i < <u32>(TARGETS * UNITS); i++) {
    const unit = load<u32>(unitPlace(d, 0, i));
    if (unit != 0) resetUnit(unitAt(unit));
  }
}
