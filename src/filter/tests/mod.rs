mod arbitrary;
mod epoch;
mod image;
mod linear;
mod oracle;
mod packet;
mod table;
