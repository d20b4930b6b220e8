"""Pure: the shapes of Dintero's Shopping API, and what they are here."""
